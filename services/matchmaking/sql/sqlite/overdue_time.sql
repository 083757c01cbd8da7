-- ?1 now, ?2 limit
select ticket_id from mm_tickets
where state = 'waiting' and expires_at <= ?1
order by expires_at
limit ?2
