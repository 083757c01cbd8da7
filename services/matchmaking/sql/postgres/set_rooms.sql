-- Notes the rooms of matches. $1 JSON array of objects. The first room stays.
-- Two transactions that note rooms of the same matches take them in the same
-- order. The arrays have the index used whatever the planner thinks of the size
-- of $1.
with room as materialized (
    select match_id, room_id, completed_at
    from json_to_recordset($1::json) as room (match_id text, room_id text, completed_at bigint)
),
held as materialized (
    select match_id from mm_matches
    where match_id = any (array(select match_id from room)) and room_id is null
    order by match_id
    for no key update
)
update mm_matches of
set room_id = room.room_id, completed_at = room.completed_at
from room
where of.match_id = room.match_id
  and of.match_id = any (array(select match_id from held))
  and of.room_id is null
