-- Messages of a room, backwards. $1: room, $2: before this seq, $3: how many.
select * from chat_log
where room_id = $1 and kind = 1 and seq < $2
order by seq desc limit $3
