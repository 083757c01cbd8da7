-- The rooms that a user is in, and the pairs they were in, the last active
-- first. ?1: user; ?2, ?3: time and id of the last room seen; ?4: how many.
select r.room_id, r.kind, r.name, r.creator, r.external_id, r.origin, r.closed, r.created_at,
    r.last_active_at, r.head_seq, r.head_id, r.base_seq, r.base_id, r.message_no,
    r.member_count, r.rewritten_seq,
    m.user_id, m.joined_at, m.joined_seq, m.left_at, m.left_seq, m.read_seq,
    m.read_message_no
from chat_members m
cross join chat_rooms r
where m.user_id = ?1
  and r.room_id = m.room_id
  and (m.left_at is null or r.kind = 1)
  and (r.last_active_at, r.room_id) < (?2, ?3)
order by r.last_active_at desc, r.room_id desc
limit ?4
