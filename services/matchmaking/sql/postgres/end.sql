-- $1 id, $2 state, $3 now. Guarded: a ticket leaves waiting once.
update mm_tickets set state = $2, ended_at = $3
where ticket_id = $1 and state = 'waiting'
