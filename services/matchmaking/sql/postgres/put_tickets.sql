-- Makes the tickets of a batch. $1 JSON array of objects.
-- One less for each user who has an active ticket in the pool. Two transactions
-- that make tickets of the same users take them in the same order.
insert into mm_tickets (
    ticket_id, user_id, pool, attributes, wants, state, liveness, lease_until, created_at,
    expires_at, ended_at, match_id, told
)
select ticket_id, user_id, pool, attributes, wants, state, liveness, lease_until, created_at,
       expires_at, ended_at, match_id, told
from json_to_recordset($1::json) as ticket (
    ticket_id text, user_id text, pool text, attributes text, wants text, state text,
    liveness text, lease_until bigint, created_at bigint, expires_at bigint, ended_at bigint,
    match_id text, told boolean
)
order by pool collate "C", user_id collate "C", ticket_id collate "C"
on conflict (pool, user_id) where state = 'waiting' or (state = 'matched' and not told) do nothing
