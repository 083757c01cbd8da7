-- Stores memberships of a batch, new or changed. $1: JSON array of objects.
insert into chat_members (
    room_id, user_id, joined_at, joined_seq, left_at, left_seq, read_seq, read_message_no, live
)
select room_id, user_id, joined_at, joined_seq, left_at, left_seq, read_seq, read_message_no, live
from json_to_recordset($1::json) as member (
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
