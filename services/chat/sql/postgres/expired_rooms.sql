-- Rooms whose log begins before $1; at most $2.
select room_id from chat_rooms where oldest_at < $1 order by oldest_at limit $2
