-- $1: JSON array of tickets.
insert into floor_mm_tickets (
    ticket_id, user_id, pool, attributes, wants, state, liveness, created_at, expires_at
)
select ticket_id, user_id, pool, attributes, '{}', 'waiting', 'presence', created_at, expires_at
from json_to_recordset($1::json) as entry (
    ticket_id text, user_id text, pool text, attributes text, created_at bigint,
    expires_at bigint
)
