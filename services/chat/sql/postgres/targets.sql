-- The messages that a batch aims at, each with its last edit or delete.
-- $1: JSON array of [room, message id].
select l.room_id, l.seq, l.id, l.actor, l.body, l.edited_at, l.deleted,
       e.seq as last_seq, e.id as last_id
from json_array_elements($1::json) wanted
cross join lateral (
    select * from chat_log log
    where log.room_id = wanted ->> 0 and log.id = wanted ->> 1 and log.kind = 1
    limit 1
) l
left join lateral (
    select t.seq, t.id from chat_log t
    where t.room_id = l.room_id and t.target_seq = l.seq
    order by t.seq desc limit 1
) e on true
