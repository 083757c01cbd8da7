-- $1 id, $2 match, $3 now. Guarded: a ticket leaves waiting once, and alive.
update mm_tickets set state = 'matched', ended_at = $3, match_id = $2
where ticket_id = $1 and state = 'waiting'
