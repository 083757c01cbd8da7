create table mm_matches (
    match_id     text primary key,
    pool         text not null,
    ticket_ids   text not null, -- JSON array, in the order of the proposal
    user_ids     text not null, -- JSON array, sorted
    created_at   integer not null, -- milliseconds since 1970, as all times here
    room_id      text,
    completed_at integer
) strict, without rowid;

-- Matches whose room is yet to be made: few, looked at each second.
create index mm_matches_roomless on mm_matches (created_at, match_id) where room_id is null;

create table mm_tickets (
    ticket_id   text primary key,
    user_id     text not null,
    pool        text not null,
    attributes  text not null, -- canonical JSON
    wants       text not null, -- canonical JSON
    state       text not null check (state in ('waiting', 'matched', 'cancelled', 'expired')),
    liveness    text not null check (liveness in ('presence', 'lease')),
    lease_until integer,
    created_at  integer not null,
    expires_at  integer not null,
    ended_at    integer,
    match_id    text references mm_matches (match_id),
    told        integer not null default 0,
    check ((state = 'waiting') = (ended_at is null)),
    check ((state = 'matched') = (match_id is not null))
) strict, without rowid;

-- The promise: one active ticket per user and pool.
create unique index mm_tickets_active on mm_tickets (pool, user_id)
    where state = 'waiting' or (state = 'matched' and told = 0);
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
create index mm_tickets_untold on mm_tickets (pool, ended_at) where state = 'matched' and told = 0;
