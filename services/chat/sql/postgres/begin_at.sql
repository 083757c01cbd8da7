-- Where a room's log begins after retention. $1: room, $2, $3: seq and id of the last event taken.
update chat_rooms set
    base_seq = $2,
    base_id = $3,
    oldest_at = (select l.sent_at from chat_log l where l.room_id = $1 order by l.seq limit 1)
where room_id = $1
