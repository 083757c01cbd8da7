-- $1 JSON array of ticket ids, $2 now. Those who are being matched at this
-- moment need no proof, and are not waited for.
update mm_tickets set proved_at = $2
where ticket_id in (
    select ticket_id from mm_tickets
    where ticket_id = any (array(select json_array_elements_text($1::json)))
      and state = 'waiting' and liveness = 'presence'
    for update skip locked
)
