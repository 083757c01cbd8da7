-- $1 id, $2 liveness, $3 lease: how the owner proves to be there from now on.
update mm_tickets
set liveness = $2,
    lease_until = case when $2 = 'lease' then greatest(coalesce(lease_until, 0), $3) end
where ticket_id = $1 and state = 'waiting'
