-- Who wants to say something in a room: their membership, if they have one, and the
-- message that their key stands for already, if it does.
-- $1: JSON array of [room, sender, key].
select wanted ->> 0 as room_id, wanted ->> 2 as client_msg_id,
       m.user_id, m.joined_at, m.joined_seq, m.left_at, m.left_seq, m.read_seq,
       m.read_message_no, l.actor, l.body_hash, l.seq, l.id, l.sent_at, l.trace_id
from json_array_elements($1::json) wanted
left join lateral (
    select * from chat_members member
    where member.room_id = wanted ->> 0 and member.user_id = wanted ->> 1
    limit 1
) m on true
left join lateral (
    select * from chat_log log
    where log.room_id = wanted ->> 0
      and log.actor = wanted ->> 1
      and log.client_msg_id = wanted ->> 2
    limit 1
) l on true
