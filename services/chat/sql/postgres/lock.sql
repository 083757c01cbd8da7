-- Nobody else writes to a room until the transaction ends. $1: room.
select 1 from chat_rooms where room_id = $1 for update
