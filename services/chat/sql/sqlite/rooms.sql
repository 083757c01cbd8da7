-- The rooms of a batch: by id and by external id. ?1, ?2: JSON arrays.
select r.room_id, r.kind, r.name, r.creator, r.external_id, r.origin, r.closed, r.created_at,
    r.last_active_at, r.head_seq, r.head_id, r.base_seq, r.base_id, r.message_no,
    r.member_count, r.rewritten_seq
from json_each(?1) wanted cross join chat_rooms r where r.room_id = wanted.value
union
select r.room_id, r.kind, r.name, r.creator, r.external_id, r.origin, r.closed, r.created_at,
    r.last_active_at, r.head_seq, r.head_id, r.base_seq, r.base_id, r.message_no,
    r.member_count, r.rewritten_seq
from json_each(?2) wanted cross join chat_rooms r where r.external_id = wanted.value
