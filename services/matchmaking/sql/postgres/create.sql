-- $1 id, $2 user, $3 pool, $4 attributes, $5 wants, $6 liveness, $7 lease, $8 created, $9 expires.
-- No row when the user has an active ticket in the pool.
insert into mm_tickets
    (ticket_id, user_id, pool, attributes, wants, state, liveness, lease_until, created_at, expires_at)
values ($1, $2, $3, $4, $5, 'waiting', $6, $7, $8, $9)
on conflict (pool, user_id) where state = 'waiting' or (state = 'matched' and not told) do nothing
