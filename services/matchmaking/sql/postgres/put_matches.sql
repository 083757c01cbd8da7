-- Makes the matches of a batch. $1 JSON array of objects.
insert into mm_matches (match_id, pool, ticket_ids, user_ids, created_at)
select match_id, pool, ticket_ids, user_ids, created_at
from json_to_recordset($1::json) as made (
    match_id text, pool text, ticket_ids text, user_ids text, created_at bigint
)
