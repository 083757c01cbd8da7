-- The tickets of matches. $1 JSON array of match ids
select t.ticket_id, t.user_id, t.pool, t.attributes, t.wants, t.state, t.liveness, t.lease_until,
       t.created_at, t.expires_at, t.ended_at, t.told,
       m.match_id, m.ticket_ids, m.user_ids, m.created_at as matched_at, m.room_id
from mm_tickets t
join mm_matches m on m.match_id = t.match_id
where t.match_id = any (array(select json_array_elements_text($1::json)))
