-- The members of a room, in order of joining. ?1: room.
select user_id, joined_at, joined_seq, left_at, left_seq, read_seq, read_message_no
from chat_members where room_id = ?1 and left_at is null order by joined_seq
