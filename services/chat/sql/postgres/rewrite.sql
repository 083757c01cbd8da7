-- Stores messages of a batch as they read now. $1: JSON array of objects.
update chat_log set
    body = changed.body,
    edited_at = changed.edited_at,
    deleted = changed.deleted,
    metadata = case when changed.deleted then '' else metadata end
from json_to_recordset($1::json) as changed (
    room_id text, seq bigint, body text, edited_at bigint, deleted boolean
)
where chat_log.room_id = changed.room_id and chat_log.seq = changed.seq
