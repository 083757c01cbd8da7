-- The messages that a batch aims at, each with its last edit or delete.
-- ?1: JSON array of [room, message id].
select l.room_id, l.seq, l.id, l.actor, l.body, l.edited_at, l.deleted,
       e.seq as last_seq, e.id as last_id
from json_each(?1) wanted
cross join chat_log l
left join chat_log e on e.room_id = l.room_id and e.seq = (
    select max(t.seq) from chat_log t where t.room_id = l.room_id and t.target_seq = l.seq
)
where l.room_id = wanted.value ->> 0 and l.id = wanted.value ->> 1 and l.kind = 1
