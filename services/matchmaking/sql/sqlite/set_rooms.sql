-- Notes the rooms of matches. ?1 JSON array of objects. The first room stays.
update mm_matches
set room_id = room.value ->> 'room_id', completed_at = room.value ->> 'completed_at'
from json_each(?1) room
where mm_matches.match_id = room.value ->> 'match_id' and mm_matches.room_id is null
