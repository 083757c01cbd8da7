-- Which of some users share a room with a user. ?1: user, ?2: JSON array.
select wanted.value as user_id from json_each(?2) wanted
where exists (
    select 1 from chat_members mine
    cross join chat_members theirs
    where mine.user_id = ?1 and mine.live = 1
      and theirs.room_id = mine.room_id and theirs.user_id = wanted.value and theirs.live = 1
)
