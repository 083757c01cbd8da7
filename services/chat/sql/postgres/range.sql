-- A room's log onwards. $1: room, $2: after this seq, $3: how many.
select * from chat_log where room_id = $1 and seq > $2 order by seq limit $3
