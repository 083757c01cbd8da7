-- Stores messages of a batch as they read now. ?1: JSON array of objects.
update chat_log set
    body = changed.value ->> 'body',
    edited_at = changed.value ->> 'edited_at',
    deleted = changed.value ->> 'deleted',
    metadata = case when changed.value ->> 'deleted' then '' else metadata end
from json_each(?1) changed
where chat_log.room_id = changed.value ->> 'room_id' and chat_log.seq = changed.value ->> 'seq'
