-- A room as a user sees it. ?1: room, ?2: user.
select r.room_id, r.kind, r.name, r.creator, r.external_id, r.origin, r.closed, r.created_at,
    r.last_active_at, r.head_seq, r.head_id, r.base_seq, r.base_id, r.message_no,
    r.member_count, r.rewritten_seq,
    m.user_id, m.joined_at, m.joined_seq, m.left_at, m.left_seq, m.read_seq,
    m.read_message_no
from chat_rooms r
left join chat_members m on m.room_id = r.room_id and m.user_id = ?2
where r.room_id = ?1
