-- Where rooms stand. $1: JSON array of room ids.
select r.room_id, r.head_seq, r.head_id
from chat_rooms r
where r.room_id = any (array(select json_array_elements_text($1::json)))
