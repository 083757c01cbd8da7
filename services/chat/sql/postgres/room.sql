-- A room. $1: its id.
select * from chat_rooms where room_id = $1
