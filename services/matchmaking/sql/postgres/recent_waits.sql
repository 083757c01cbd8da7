-- $1 pool, $2 since, $3 limit
select match_id, ended_at, ended_at - created_at as waited
from mm_tickets
where pool = $1 and state = 'matched' and ended_at > $2
order by ended_at desc
limit $3
