-- Stores what a batch made of its rooms: rooms and memberships, new or changed,
-- and the new rows of logs. Each of the three: a JSON array of objects, taken in turn.
-- A log that retention emptied begins anew with the first new row.
insert into chat_rooms (
    room_id, kind, name, creator, external_id, origin, closed, created_at, last_active_at,
    head_seq, head_id, message_no, member_count, base_seq, base_id, oldest_at, rewritten_seq
)
select value ->> 'room_id', value ->> 'kind', value ->> 'name', value ->> 'creator',
       value ->> 'external_id', unhex(value ->> 'origin'), value ->> 'closed',
       value ->> 'created_at', value ->> 'last_active_at', value ->> 'head_seq',
       value ->> 'head_id', value ->> 'message_no', value ->> 'member_count',
       value ->> 'base_seq', value ->> 'base_id', value ->> 'oldest_at',
       value ->> 'rewritten_seq'
from json_each(?) where true
on conflict (room_id) do update set
    closed = excluded.closed,
    last_active_at = excluded.last_active_at,
    head_seq = excluded.head_seq,
    head_id = excluded.head_id,
    message_no = excluded.message_no,
    member_count = excluded.member_count,
    rewritten_seq = excluded.rewritten_seq,
    oldest_at = coalesce(oldest_at, excluded.oldest_at);

insert into chat_members (
    room_id, user_id, joined_at, joined_seq, left_at, left_seq, read_seq, read_message_no, live
)
select value ->> 'room_id', value ->> 'user_id', value ->> 'joined_at', value ->> 'joined_seq',
       value ->> 'left_at', value ->> 'left_seq', value ->> 'read_seq',
       value ->> 'read_message_no', value ->> 'live'
from json_each(?) where true
on conflict (room_id, user_id) do update set
    joined_at = excluded.joined_at,
    joined_seq = excluded.joined_seq,
    left_at = excluded.left_at,
    left_seq = excluded.left_seq,
    read_seq = excluded.read_seq,
    read_message_no = excluded.read_message_no,
    live = excluded.live;

insert into chat_log (
    room_id, seq, id, kind, actor, client_msg_id, body_hash, body, metadata,
    target_id, target_seq, message_no, sent_at, trace_id
)
select value ->> 'room_id', value ->> 'seq', value ->> 'id', value ->> 'kind', value ->> 'actor',
       value ->> 'client_msg_id', unhex(value ->> 'body_hash'), value ->> 'body',
       value ->> 'metadata', value ->> 'target_id', value ->> 'target_seq',
       value ->> 'message_no', value ->> 'sent_at', value ->> 'trace_id'
from json_each(?)
