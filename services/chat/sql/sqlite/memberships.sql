-- The memberships that a batch names. ?1: JSON array of [room, user].
select m.room_id, m.user_id, m.joined_at, m.joined_seq, m.left_at, m.left_seq, m.read_seq,
    m.read_message_no
from json_each(?1) wanted cross join chat_members m
where m.room_id = wanted.value ->> 0 and m.user_id = wanted.value ->> 1
