-- Stores rooms of a batch, new or changed. ?1: JSON array of objects.
-- A log that retention emptied begins anew with the first new row.
insert into chat_rooms (
    room_id, kind, name, creator, external_id, origin, closed, created_at, last_active_at,
    head_seq, head_id, message_no, member_count, base_seq, base_id, oldest_at
)
select value ->> 'room_id', value ->> 'kind', value ->> 'name', value ->> 'creator',
       value ->> 'external_id', unhex(value ->> 'origin'), value ->> 'closed',
       value ->> 'created_at', value ->> 'last_active_at', value ->> 'head_seq',
       value ->> 'head_id', value ->> 'message_no', value ->> 'member_count',
       value ->> 'base_seq', value ->> 'base_id', value ->> 'oldest_at'
from json_each(?1) where true
on conflict (room_id) do update set
    closed = excluded.closed,
    last_active_at = excluded.last_active_at,
    head_seq = excluded.head_seq,
    head_id = excluded.head_id,
    message_no = excluded.message_no,
    member_count = excluded.member_count,
    oldest_at = coalesce(oldest_at, excluded.oldest_at)
