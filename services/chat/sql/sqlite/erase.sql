-- Empties the edits of deleted messages. ?1: JSON array of [room, seq].
update chat_log set body = ''
from json_each(?1) gone
where chat_log.room_id = gone.value ->> 0 and chat_log.target_seq = gone.value ->> 1
