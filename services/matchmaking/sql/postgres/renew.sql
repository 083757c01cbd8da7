-- $1 id, $2 end of the lease; it never moves back.
update mm_tickets set lease_until = $2
where ticket_id = $1 and state = 'waiting' and lease_until < $2
