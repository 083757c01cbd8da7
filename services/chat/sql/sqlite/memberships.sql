-- The memberships that a batch names. ?1: JSON array of [room, user].
select m.*
from json_each(?1) wanted cross join chat_members m
where m.room_id = wanted.value ->> 0 and m.user_id = wanted.value ->> 1
