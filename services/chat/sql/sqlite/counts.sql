-- How many messages each room had up to a seq. ?1: JSON array of [room, seq].
-- No row at or below the seq: retention took them.
select wanted.value ->> 0 as room_id, wanted.value ->> 1 as seq, coalesce((
    select l.message_no from chat_log l
    where l.room_id = wanted.value ->> 0 and l.seq <= wanted.value ->> 1
    order by l.seq desc limit 1
), 0) as message_no
from json_each(?1) wanted
