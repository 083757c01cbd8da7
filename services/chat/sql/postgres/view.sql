-- A room as a user sees it. $1: room, $2: user.
select r.*, m.user_id, m.joined_at, m.joined_seq, m.left_at, m.left_seq, m.read_seq,
    m.read_message_no
from chat_rooms r
left join chat_members m on m.room_id = r.room_id and m.user_id = $2
where r.room_id = $1
