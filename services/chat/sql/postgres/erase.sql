-- Empties the edits of deleted messages. $1: JSON array of [room, seq].
update chat_log set body = ''
from (
    select pair ->> 0 as room_id, (pair ->> 1)::bigint as seq
    from json_array_elements($1::json) pair
) gone
where chat_log.room_id = gone.room_id and chat_log.target_seq = gone.seq
