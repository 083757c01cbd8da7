-- ?1: JSON array of messages.
insert into chat_log (
    room_id, seq, id, kind, actor, client_msg_id, body_hash, body, metadata,
    message_no, sent_at, trace_id
)
select value ->> 'room_id', value ->> 'seq', value ->> 'id', value ->> 'kind', value ->> 'actor',
       value ->> 'client_msg_id', unhex(value ->> 'body_hash'), value ->> 'body', '',
       value ->> 'message_no', value ->> 'sent_at', value ->> 'trace_id'
from json_each(?1)
