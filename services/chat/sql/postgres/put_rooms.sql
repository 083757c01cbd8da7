-- Stores rooms of a batch, new or changed. $1: JSON array of objects.
-- A log that retention emptied begins anew with the first new row. Two
-- transactions that make the same external ids take them in the same order.
insert into chat_rooms (
    room_id, kind, name, creator, external_id, origin, closed, created_at, last_active_at,
    head_seq, head_id, message_no, member_count, base_seq, base_id, oldest_at
)
select room_id, kind, name, creator, external_id, decode(origin, 'hex'), closed, created_at,
       last_active_at, head_seq, head_id, message_no, member_count, base_seq, base_id, oldest_at
from json_to_recordset($1::json) as room (
    room_id text, kind bigint, name text, creator text, external_id text, origin text,
    closed boolean, created_at bigint, last_active_at bigint, head_seq bigint, head_id text,
    message_no bigint, member_count bigint, base_seq bigint, base_id text, oldest_at bigint
)
order by external_id, room_id
on conflict (room_id) do update set
    closed = excluded.closed,
    last_active_at = excluded.last_active_at,
    head_seq = excluded.head_seq,
    head_id = excluded.head_id,
    message_no = excluded.message_no,
    member_count = excluded.member_count,
    oldest_at = coalesce(chat_rooms.oldest_at, excluded.oldest_at)
