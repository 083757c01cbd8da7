-- How many messages each room had up to a seq. $1: JSON array of [room, seq].
-- No row at or below the seq: retention took them.
select wanted.room_id, wanted.seq, coalesce((
    select l.message_no from chat_log l
    where l.room_id = wanted.room_id and l.seq <= wanted.seq
    order by l.seq desc limit 1
), 0) as message_no
from (
    select pair ->> 0 as room_id, (pair ->> 1)::bigint as seq
    from json_array_elements($1::json) pair
) wanted
