-- Times are milliseconds since 1970; ids are UUIDv7 as text. Everything about
-- a room is keyed by its id first, so that ranges of rooms stay partitionable.

create table chat_rooms (
    room_id        text primary key,
    kind           integer not null check (kind in (1, 2, 3)), -- pair, direct, channel
    name           text not null,
    creator        text not null, -- empty for a pair
    external_id    text unique,
    origin         blob not null, -- sha-256 of kind and first members: what external_id stands for
    closed         integer not null check (closed in (0, 1)),
    created_at     integer not null,
    last_active_at integer not null, -- of the last event; never goes back
    head_seq       integer not null,
    head_id        text not null,
    message_no     integer not null, -- messages said so far
    member_count   integer not null,
    base_seq       integer not null, -- the event before the first one kept
    base_id        text not null,
    oldest_at      integer           -- when the first one kept was; null when none is
) strict, without rowid;

-- Pair rooms that may have gone idle.
create index chat_rooms_idle on chat_rooms (last_active_at) where kind = 1 and closed = 0;
-- Rooms whose log begins before the retention; changes only with retention.
create index chat_rooms_oldest on chat_rooms (oldest_at) where oldest_at is not null;

create table chat_members (
    room_id         text not null,
    user_id         text not null,
    joined_at       integer not null,
    joined_seq      integer not null,
    left_at         integer, -- null for a member
    read_seq        integer not null,
    read_message_no integer not null,
    live            integer not null check (live in (0, 1)), -- a member, and not of a closed pair
    primary key (room_id, user_id)
) strict, without rowid;

-- The rooms of a user.
create index chat_members_user on chat_members (user_id, room_id);
-- The rooms that make a user known to others: few, however many pairs are over.
create index chat_members_live on chat_members (user_id, room_id) where live = 1;

create table chat_log (
    room_id       text not null,
    seq           integer not null,
    id            text not null,
    kind          integer not null check (kind between 1 and 6), -- message, edited, deleted, joined, left, closed
    actor         text not null,
    client_msg_id text, -- of a message
    body_hash     blob, -- of a message: sha-256 of body and metadata as sent, kept when they are gone
    body          text not null, -- of a message, as it reads now; of an edit; of a close, its reason
    metadata      text not null, -- of a message: JSON, or empty
    target_id     text, -- of an edit or delete
    target_seq    integer,
    message_no    integer not null, -- messages up to and including this row
    sent_at       integer not null,
    trace_id      text not null,
    edited_at     integer,
    deleted       integer not null default 0,
    primary key (room_id, seq)
) strict, without rowid;

-- A sender's key stands for one message.
create unique index chat_log_key on chat_log (room_id, actor, client_msg_id)
    where client_msg_id is not null;
-- The message that an edit or delete names.
create unique index chat_log_message on chat_log (room_id, id) where kind = 1;
-- A page of history passes over whatever else the log holds.
create index chat_log_history on chat_log (room_id, seq) where kind = 1;
-- The edits of a message.
create index chat_log_target on chat_log (room_id, target_seq, seq) where target_seq is not null;
