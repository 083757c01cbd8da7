-- Changes tickets that a batch holds. ?1 JSON array of objects.
-- Guarded: a ticket leaves waiting once.
update mm_tickets
set state = wish.value ->> 'state',
    liveness = wish.value ->> 'liveness',
    lease_until = wish.value ->> 'lease_until',
    ended_at = wish.value ->> 'ended_at',
    match_id = wish.value ->> 'match_id',
    told = wish.value ->> 'told'
from json_each(?1) wish
where mm_tickets.ticket_id = wish.value ->> 'ticket_id'
  and (mm_tickets.state = 'waiting' or mm_tickets.state = wish.value ->> 'state')
