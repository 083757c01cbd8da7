-- A room. $1: its id.
select room_id, kind, name, creator, external_id, origin, closed, created_at, last_active_at,
    head_seq, head_id, base_seq, base_id, message_no, member_count, rewritten_seq
from chat_rooms where room_id = $1
