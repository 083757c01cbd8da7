-- $1 ended before, $2 limit. Outcomes that nobody took stay until they are told.
delete from mm_tickets
where ticket_id in (
    select ticket_id from mm_tickets
    where ended_at < $1 and (state <> 'matched' or told)
    order by ended_at
    limit $2
    for update skip locked
)
