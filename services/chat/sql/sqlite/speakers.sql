-- Who wants to say something in a room: their membership, if they have one, and the
-- message that their key stands for already, if it does.
-- ?1: JSON array of [room, sender, key].
select wanted.value ->> 0 as room_id, wanted.value ->> 2 as client_msg_id,
       m.user_id, m.joined_at, m.joined_seq, m.left_at, m.left_seq, m.read_seq,
       m.read_message_no, l.actor, l.body_hash, l.seq, l.id, l.sent_at, l.trace_id
from json_each(?1) wanted
left join chat_members m
    on m.room_id = wanted.value ->> 0 and m.user_id = wanted.value ->> 1
left join chat_log l
    on l.room_id = wanted.value ->> 0
    and l.actor = wanted.value ->> 1
    and l.client_msg_id = wanted.value ->> 2
