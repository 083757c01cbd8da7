-- The tickets that a batch is about: those named, and the active ones of users.
-- ?1 JSON array of ticket ids, ?2 JSON array of [pool, user]. The transaction
-- holds the whole database.
select t.ticket_id from mm_tickets t
where t.ticket_id in (select value from json_each(?1))
union all
select t.ticket_id from json_each(?2) wanted
cross join mm_tickets t
where t.pool = wanted.value ->> 0 and t.user_id = wanted.value ->> 1
  and (t.state = 'waiting' or (t.state = 'matched' and t.told = 0))
