-- Where rooms stand. ?1: JSON array of room ids.
select r.room_id, r.head_seq, r.head_id
from json_each(?1) wanted cross join chat_rooms r
where r.room_id = wanted.value
