-- The members of a room, in order of joining. $1: room.
select * from chat_members where room_id = $1 and left_at is null order by joined_seq
