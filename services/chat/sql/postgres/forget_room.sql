-- A closed pair of which nothing is kept was never there. $1: room.
delete from chat_rooms where room_id = $1 and kind = 1 and closed and oldest_at is null
