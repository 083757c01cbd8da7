-- $1 pool, $2 and $3 the position before, $4 now, $5 alive since, $6 limit.
-- Who waits and is there.
select ticket_id, user_id, attributes, wants, liveness, created_at, proved_at
from mm_tickets
where pool = $1 and state = 'waiting' and (created_at, ticket_id) > ($2, $3)
  and expires_at > $4 and (lease_until is null or lease_until > $4)
  and (liveness = 'lease' or created_at > $5 or proved_at > $5)
order by created_at, ticket_id
limit $6
