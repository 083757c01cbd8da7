-- Proofs of life of tickets that wait, as long as no index takes them.
alter table mm_tickets add column proved_at integer;
create index mm_tickets_proved on mm_tickets (proved_at)
    where state = 'waiting' and proved_at is not null;

-- Who sweeps, as long as no index says so.
create table mm_leads (
    name   text primary key,
    holder text not null,
    until  integer not null
) strict, without rowid;
