-- ?1 now, ?2 limit
select ticket_id from mm_tickets
where state = 'waiting' and lease_until is not null and lease_until <= ?1
order by lease_until
limit ?2
