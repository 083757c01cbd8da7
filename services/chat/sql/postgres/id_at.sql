-- The id of the event at a place. $1: room, $2: seq.
select id from chat_log where room_id = $1 and seq = $2
