-- Waiting tickets whose time or lease is over, oldest end first. ?1 now, ?2 limit.
select ticket_id
from (
    select * from (
        select ticket_id, expires_at as ends_at from mm_tickets
        where state = 'waiting' and expires_at <= ?1
        order by expires_at
        limit ?2
    ) by_time
    union all
    select * from (
        select ticket_id, lease_until as ends_at from mm_tickets
        where state = 'waiting' and lease_until is not null and lease_until <= ?1
        order by lease_until
        limit ?2
    ) by_lease
) ended
group by ticket_id
order by min(ends_at)
limit ?2
