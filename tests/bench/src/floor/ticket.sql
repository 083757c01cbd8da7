-- ?1: JSON array of tickets.
insert into mm_tickets (
    ticket_id, user_id, pool, attributes, wants, state, liveness, created_at, expires_at
)
select value ->> 'ticket_id', value ->> 'user_id', value ->> 'pool', value ->> 'attributes', '{}',
       'waiting', 'presence', value ->> 'created_at', value ->> 'expires_at'
from json_each(?1)
