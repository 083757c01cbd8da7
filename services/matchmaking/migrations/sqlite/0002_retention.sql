-- What ended long ago, oldest first.
create index mm_tickets_ended on mm_tickets (ended_at) where ended_at is not null;
create index mm_matches_made on mm_matches (created_at, match_id);
-- Whether a match is still one of a ticket.
create index mm_tickets_match on mm_tickets (match_id) where match_id is not null;
