-- ?1 JSON array of ticket ids, ?2 now
update mm_tickets set proved_at = ?2
where ticket_id in (select value from json_each(?1))
  and state = 'waiting' and liveness = 'presence'
