-- $1 made before, $2 limit. Matches that no ticket speaks of any more.
delete from mm_matches
where match_id in (
    select m.match_id from mm_matches m
    where m.created_at < $1 and m.room_id is not null
      and not exists (select 1 from mm_tickets t where t.match_id = m.match_id)
    order by m.created_at
    limit $2
)
