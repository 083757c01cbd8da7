-- $1 JSON array of ticket ids
update mm_tickets set told = true
where ticket_id = any (array(select json_array_elements_text($1::json)))
  and state = 'matched' and not told
