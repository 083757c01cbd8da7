-- Open pairs without an event since $1; at most $2.
select room_id from chat_rooms
where kind = 1 and not closed and last_active_at <= $1
order by last_active_at limit $2
