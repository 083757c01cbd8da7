-- Appends the rows of a batch. $1: JSON array of objects.
insert into chat_log (
    room_id, seq, id, kind, actor, client_msg_id, body_hash, body, metadata,
    target_id, target_seq, message_no, sent_at, trace_id
)
select room_id, seq, id, kind, actor, client_msg_id, decode(body_hash, 'hex'), body, metadata,
       target_id, target_seq, message_no, sent_at, trace_id
from json_to_recordset($1::json) as entry (
    room_id text, seq bigint, id text, kind bigint, actor text, client_msg_id text,
    body_hash text, body text, metadata text, target_id text, target_seq bigint,
    message_no bigint, sent_at bigint, trace_id text
)
