-- Which of some users share a room with a user. $1: user, $2: JSON array.
select wanted.user_id
from json_array_elements_text($2::json) with ordinality as wanted (user_id, place)
where exists (
    select 1 from chat_members mine
    join chat_members theirs on theirs.room_id = mine.room_id
    where mine.user_id = $1 and mine.live
      and theirs.user_id = wanted.user_id and theirs.live
)
order by wanted.place
