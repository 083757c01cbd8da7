-- The memberships that a batch names. $1: JSON array of [room, user].
select m.room_id, m.user_id, m.joined_at, m.joined_seq, m.left_at, m.left_seq, m.read_seq,
    m.read_message_no
from json_array_elements($1::json) wanted
cross join lateral (
    select * from chat_members member
    where member.room_id = wanted ->> 0 and member.user_id = wanted ->> 1
    limit 1
) m
