-- Changes tickets that a batch holds. $1 JSON array of objects.
-- Guarded: a ticket leaves waiting once. An upsert, whose conflicts are found
-- by the index whatever the planner thinks of the size of $1: all are there.
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
on conflict (ticket_id) do update set
    state = excluded.state,
    liveness = excluded.liveness,
    lease_until = excluded.lease_until,
    ended_at = excluded.ended_at,
    match_id = excluded.match_id,
    told = excluded.told
where mm_tickets.state = 'waiting' or mm_tickets.state = excluded.state
