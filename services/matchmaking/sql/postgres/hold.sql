-- Holds tickets until the transaction ends, in the order of their ids: those
-- named, and the active ones of users. $1 JSON array of ticket ids, $2 JSON
-- array of [pool, user].
select ticket_id from mm_tickets
where ticket_id = any (array(
    select json_array_elements_text($1::json)
    union all
    select active.ticket_id
    from json_array_elements($2::json) wanted
    cross join lateral (
        select t.ticket_id from mm_tickets t
        where t.pool = wanted ->> 0 and t.user_id = wanted ->> 1
          and (t.state = 'waiting' or (t.state = 'matched' and not t.told))
        limit 1
    ) active
))
order by ticket_id
for update
