-- ?1 pool, ?2 JSON array of users, ?3 since, ?4 limit. Whom they met, newest first.
select t.user_id, m.user_ids
from mm_tickets t
join mm_matches m on m.match_id = t.match_id
where t.pool = ?1 and t.user_id in (select value from json_each(?2))
  and t.state = 'matched' and t.ended_at > ?3
order by t.ended_at desc
limit ?4
