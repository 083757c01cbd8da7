-- $1 pool. How many wait.
select count(*) as waiting from mm_tickets where pool = $1 and state = 'waiting'
