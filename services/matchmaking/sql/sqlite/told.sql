-- ?1 JSON array of ticket ids
update mm_tickets set told = 1
where ticket_id in (select value from json_each(?1)) and state = 'matched' and told = 0
