-- $1 match
select ticket_ids from mm_matches where match_id = $1
