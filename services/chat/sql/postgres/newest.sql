-- The end of a room's log, backwards. $1: room, $2: how many.
select * from chat_log where room_id = $1 order by seq desc limit $2
