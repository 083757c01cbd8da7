-- The rooms of a batch: by id and by external id, each locked until the end of
-- the transaction, in the order of their ids, so that no two transactions wait
-- for each other. $1, $2: JSON arrays.
select room_id, kind, name, creator, external_id, origin, closed, created_at, last_active_at,
    head_seq, head_id, base_seq, base_id, message_no, member_count, rewritten_seq
from chat_rooms
where room_id = any (array(select json_array_elements_text($1::json)))
   or external_id = any (array(select json_array_elements_text($2::json)))
order by room_id
for update
