-- Takes the beginning of a room's log away. $1: room, $2: up to this seq.
delete from chat_log where room_id = $1 and seq <= $2
