-- $1 ended before
select 1 from mm_tickets where ended_at < $1 limit 1
