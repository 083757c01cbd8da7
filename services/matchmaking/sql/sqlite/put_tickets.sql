-- Makes the tickets of a batch. ?1 JSON array of objects.
-- One less for each user who has an active ticket in the pool.
insert into mm_tickets (
    ticket_id, user_id, pool, attributes, wants, state, liveness, lease_until, created_at,
    expires_at, ended_at, match_id, told
)
select value ->> 'ticket_id', value ->> 'user_id', value ->> 'pool', value ->> 'attributes',
       value ->> 'wants', value ->> 'state', value ->> 'liveness', value ->> 'lease_until',
       value ->> 'created_at', value ->> 'expires_at', value ->> 'ended_at',
       value ->> 'match_id', value ->> 'told'
from json_each(?1) where true
on conflict (pool, user_id) where state = 'waiting' or (state = 'matched' and told = 0) do nothing
