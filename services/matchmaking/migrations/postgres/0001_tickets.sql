create table mm_matches (
    match_id     text collate "C" primary key,
    pool         text collate "C" not null,
    ticket_ids   text not null, -- JSON array, in the order of the proposal
    user_ids     text not null, -- JSON array, sorted
    created_at   bigint not null, -- milliseconds since 1970, as all times here
    room_id      text,
    completed_at bigint
);

-- Matches whose room is yet to be made: few, looked at each second.
create index mm_matches_roomless on mm_matches (created_at, match_id) where room_id is null;
create index mm_matches_made on mm_matches (created_at, match_id);

create table mm_tickets (
    ticket_id   text collate "C" primary key,
    user_id     text collate "C" not null,
    pool        text collate "C" not null,
    attributes  text not null, -- canonical JSON
    wants       text not null, -- canonical JSON
    state       text not null check (state in ('waiting', 'matched', 'cancelled', 'expired')),
    liveness    text not null check (liveness in ('presence', 'lease')),
    lease_until bigint,
    created_at  bigint not null,
    expires_at  bigint not null,
    ended_at    bigint,
    match_id    text collate "C" references mm_matches (match_id),
    told        boolean not null default false,
    check ((state = 'waiting') = (ended_at is null)),
    check ((state = 'matched') = (match_id is not null))
);

-- The promise: one active ticket per user and pool.
create unique index mm_tickets_active on mm_tickets (pool, user_id)
    where state = 'waiting' or (state = 'matched' and not told);
-- The queue by age, to rebuild the index.
create index mm_tickets_waiting on mm_tickets (pool, created_at, ticket_id) where state = 'waiting';
-- What expires next.
create index mm_tickets_expires on mm_tickets (expires_at) where state = 'waiting';
create index mm_tickets_lease on mm_tickets (lease_until)
    where state = 'waiting' and lease_until is not null;
-- Whom a user met a short while ago.
create index mm_tickets_partners on mm_tickets (pool, user_id, ended_at) where state = 'matched';
-- How long matched tickets waited.
create index mm_tickets_matched on mm_tickets (pool, ended_at) where state = 'matched';
-- Outcomes that nobody took.
create index mm_tickets_untold on mm_tickets (pool, ended_at) where state = 'matched' and not told;
-- What ended long ago, oldest first.
create index mm_tickets_ended on mm_tickets (ended_at) where ended_at is not null;
-- Whether a match is still one of a ticket.
create index mm_tickets_match on mm_tickets (match_id) where match_id is not null;
