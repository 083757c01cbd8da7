-- $1: JSON array of messages.
insert into floor_chat_log (
    room_id, seq, id, kind, actor, client_msg_id, body_hash, body, metadata,
    message_no, sent_at, trace_id
)
select room_id, seq, id, kind, actor, client_msg_id, decode(body_hash, 'hex'), body, '',
       message_no, sent_at, trace_id
from json_to_recordset($1::json) as entry (
    room_id text, seq bigint, id text, kind bigint, actor text, client_msg_id text,
    body_hash text, body text, message_no bigint, sent_at bigint, trace_id text
)
