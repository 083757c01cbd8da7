-- $1 and $2 the position before, $3 made before, $4 limit
select match_id, pool, ticket_ids, user_ids, created_at as matched_at, room_id
from mm_matches
where room_id is null and (created_at, match_id) > ($1, $2) and created_at < $3
order by created_at, match_id
limit $4
