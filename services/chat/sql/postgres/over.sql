-- A closed pair no longer makes its two users known to each other.
-- $1: JSON array of room ids.
update chat_members set live = false
where room_id = any (array(select json_array_elements_text($1::json))) and live
