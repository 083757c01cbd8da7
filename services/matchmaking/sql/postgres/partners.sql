-- $1 pool, $2 user, $3 since
select m.user_ids
from mm_tickets t
join mm_matches m on m.match_id = t.match_id
where t.pool = $1 and t.user_id = $2 and t.state = 'matched' and t.ended_at > $3
order by t.ended_at desc
limit 32
