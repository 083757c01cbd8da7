-- A closed pair no longer makes its two users known to each other.
-- ?1: JSON array of room ids.
update chat_members set live = 0
where room_id in (select value from json_each(?1)) and live = 1
