-- Makes the matches of a batch. ?1 JSON array of objects.
insert into mm_matches (match_id, pool, ticket_ids, user_ids, created_at)
select value ->> 'match_id', value ->> 'pool', value ->> 'ticket_ids', value ->> 'user_ids',
       value ->> 'created_at'
from json_each(?1)
