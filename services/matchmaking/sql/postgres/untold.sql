-- $1 pool, $2 matched before, $3 limit. Matches without a room are left alone:
-- there is no outcome to take yet.
select t.ticket_id
from mm_tickets t
join mm_matches m on m.match_id = t.match_id
where t.pool = $1 and t.state = 'matched' and not t.told and t.ended_at < $2
  and m.room_id is not null and m.completed_at < $2
order by t.ended_at
limit $3
