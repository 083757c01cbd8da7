-- Nobody was ever in a closed pair of which nothing is kept. ?1: room.
delete from chat_members
where room_id = ?1
  and exists (
    select 1 from chat_rooms r
    where r.room_id = ?1 and r.kind = 1 and r.closed and r.oldest_at is null
  )
