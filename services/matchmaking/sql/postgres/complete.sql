-- $1 match, $2 room, $3 now. The first room stays.
update mm_matches set room_id = $2, completed_at = $3
where match_id = $1 and room_id is null
