-- $1 pool, $2 and $3 the position before, $4 created before, $5 limit
select created_at, ticket_id
from mm_tickets
where pool = $1 and state = 'waiting' and (created_at, ticket_id) > ($2, $3) and created_at < $4
order by created_at, ticket_id
limit $5
