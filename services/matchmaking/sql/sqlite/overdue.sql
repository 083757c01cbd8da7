-- Waiting tickets whose time is over at ?1 or whose lease was at ?2, oldest
-- end first. ?3 limit.
select ticket_id
from (
    select * from (
        select ticket_id, expires_at as ends_at from mm_tickets
        where state = 'waiting' and expires_at <= ?1
        order by expires_at
        limit ?3
    ) by_time
    union all
    select * from (
        select ticket_id, lease_until as ends_at from mm_tickets
        where state = 'waiting' and lease_until is not null and lease_until <= ?2
        order by lease_until
        limit ?3
    ) by_lease
) ended
group by ticket_id
order by min(ends_at)
limit ?3
