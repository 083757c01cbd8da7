-- Stores memberships of a batch, new or changed. ?1: JSON array of objects.
insert into chat_members (
    room_id, user_id, joined_at, joined_seq, left_at, left_seq, read_seq, read_message_no, live
)
select value ->> 'room_id', value ->> 'user_id', value ->> 'joined_at', value ->> 'joined_seq',
       value ->> 'left_at', value ->> 'left_seq', value ->> 'read_seq',
       value ->> 'read_message_no', value ->> 'live'
from json_each(?1) where true
on conflict (room_id, user_id) do update set
    joined_at = excluded.joined_at,
    joined_seq = excluded.joined_seq,
    left_at = excluded.left_at,
    left_seq = excluded.left_seq,
    read_seq = excluded.read_seq,
    read_message_no = excluded.read_message_no,
    live = excluded.live
