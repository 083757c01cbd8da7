-- The beginning of a room's log. $1: room, $2: how many.
select seq, id, sent_at from chat_log where room_id = $1 order by seq limit $2
