-- The used keys that a batch names. ?1: JSON array of [room, sender, key].
select l.room_id, l.actor, l.client_msg_id, l.body_hash, l.seq, l.id, l.sent_at, l.trace_id
from json_each(?1) wanted cross join chat_log l
where l.room_id = wanted.value ->> 0
  and l.actor = wanted.value ->> 1
  and l.client_msg_id = wanted.value ->> 2
