-- The used keys that a batch names. $1: JSON array of [room, sender, key].
select l.room_id, l.actor, l.client_msg_id, l.body_hash, l.seq, l.id, l.sent_at, l.trace_id
from json_array_elements($1::json) wanted
cross join lateral (
    select * from chat_log log
    where log.room_id = wanted ->> 0
      and log.actor = wanted ->> 1
      and log.client_msg_id = wanted ->> 2
    limit 1
) l
