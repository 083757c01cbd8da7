-- $1 pool, $2 user who looks, $3 JSON array of the contents that may be met, as
-- [attributes, wants] in canonical JSON, $4 now, $5 alive since, $6 limit.
-- Those who are being matched at this moment are passed over.
select ticket_id, user_id, attributes, wants, liveness, created_at, proved_at
from mm_tickets
where pool = $1 and state = 'waiting' and user_id <> $2
  and (attributes, wants) in (select it ->> 0, it ->> 1 from json_array_elements($3::json) it)
  and expires_at > $4 and (lease_until is null or lease_until > $4)
  and (liveness = 'lease' or created_at > $5 or proved_at > $5)
order by created_at, ticket_id
limit $6
for update skip locked
