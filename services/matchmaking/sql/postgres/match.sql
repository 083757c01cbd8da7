-- $1 match, $2 pool, $3 tickets, $4 users, $5 now
insert into mm_matches (match_id, pool, ticket_ids, user_ids, created_at)
values ($1, $2, $3, $4, $5)
