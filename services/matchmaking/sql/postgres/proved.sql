-- $1 since, $2 limit. Proofs of life that were noted here.
select ticket_id from mm_tickets
where state = 'waiting' and proved_at is not null and proved_at > $1
order by proved_at
limit $2
