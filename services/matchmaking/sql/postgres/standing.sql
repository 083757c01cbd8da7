-- $1 pool, $2 user. The words of the unique index, so that it is used.
select t.ticket_id, t.user_id, t.pool, t.attributes, t.wants, t.state, t.liveness, t.lease_until,
       t.created_at, t.expires_at, t.ended_at, t.told,
       m.match_id, m.ticket_ids, m.user_ids, m.created_at as matched_at, m.room_id
from mm_tickets t
left join mm_matches m on m.match_id = t.match_id
where t.pool = $1 and t.user_id = $2
  and (t.state = 'waiting' or (t.state = 'matched' and not t.told))
