-- Stores what a batch made of its rooms: rooms and memberships, new or changed,
-- and the new rows of logs. $1, $2, $3: JSON arrays of objects.
-- A log that retention emptied begins anew with the first new row. Two
-- transactions that make the same external ids take them in the same order.
with rooms as (
    insert into chat_rooms (
        room_id, kind, name, creator, external_id, origin, closed, created_at, last_active_at,
        head_seq, head_id, message_no, member_count, base_seq, base_id, oldest_at, rewritten_seq
    )
    select room_id, kind, name, creator, external_id, decode(origin, 'hex'), closed, created_at,
           last_active_at, head_seq, head_id, message_no, member_count, base_seq, base_id, oldest_at,
           rewritten_seq
    from json_to_recordset($1::json) as room (
        room_id text, kind bigint, name text, creator text, external_id text, origin text,
        closed boolean, created_at bigint, last_active_at bigint, head_seq bigint, head_id text,
        message_no bigint, member_count bigint, base_seq bigint, base_id text, oldest_at bigint,
        rewritten_seq bigint
    )
    order by external_id, room_id
    on conflict (room_id) do update set
        closed = excluded.closed,
        last_active_at = excluded.last_active_at,
        head_seq = excluded.head_seq,
        head_id = excluded.head_id,
        message_no = excluded.message_no,
        member_count = excluded.member_count,
        rewritten_seq = excluded.rewritten_seq,
        oldest_at = coalesce(chat_rooms.oldest_at, excluded.oldest_at)
), members as (
    insert into chat_members (
        room_id, user_id, joined_at, joined_seq, left_at, left_seq, read_seq, read_message_no, live
    )
    select room_id, user_id, joined_at, joined_seq, left_at, left_seq, read_seq, read_message_no, live
    from json_to_recordset($2::json) as member (
        room_id text, user_id text, joined_at bigint, joined_seq bigint, left_at bigint,
        left_seq bigint, read_seq bigint, read_message_no bigint, live boolean
    )
    on conflict (room_id, user_id) do update set
        joined_at = excluded.joined_at,
        joined_seq = excluded.joined_seq,
        left_at = excluded.left_at,
        left_seq = excluded.left_seq,
        read_seq = excluded.read_seq,
        read_message_no = excluded.read_message_no,
        live = excluded.live
)
insert into chat_log (
    room_id, seq, id, kind, actor, client_msg_id, body_hash, body, metadata,
    target_id, target_seq, message_no, sent_at, trace_id
)
select room_id, seq, id, kind, actor, client_msg_id, decode(body_hash, 'hex'), body, metadata,
       target_id, target_seq, message_no, sent_at, trace_id
from json_to_recordset($3::json) as entry (
    room_id text, seq bigint, id text, kind bigint, actor text, client_msg_id text,
    body_hash text, body text, metadata text, target_id text, target_seq bigint,
    message_no bigint, sent_at bigint, trace_id text
)
