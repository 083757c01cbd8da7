-- Times are milliseconds since 1970; ids are UUIDv7 as text, compared as
-- bytes. Everything about a room is keyed by its id first, so that ranges of
-- rooms stay partitionable.

create table chat_rooms (
    room_id        text collate "C" primary key,
    kind           bigint not null check (kind in (1, 2, 3)), -- pair, direct, channel
    name           text not null,
    creator        text not null, -- empty for a pair
    external_id    text collate "C" unique,
    origin         bytea not null, -- sha-256 of kind and first members: what external_id stands for
    closed         boolean not null,
    created_at     bigint not null,
    last_active_at bigint not null, -- of the last event; never goes back
    head_seq       bigint not null,
    head_id        text not null,
    message_no     bigint not null, -- messages said so far
    member_count   bigint not null,
    base_seq       bigint not null, -- the event before the first one kept
    base_id        text not null,
    oldest_at      bigint           -- when the first one kept was; null when none is
);

-- Pair rooms that may have gone idle.
create index chat_rooms_idle on chat_rooms (last_active_at) where kind = 1 and not closed;
-- Rooms whose log begins before the retention; changes only with retention.
create index chat_rooms_oldest on chat_rooms (oldest_at) where oldest_at is not null;

create table chat_members (
    room_id         text collate "C" not null,
    user_id         text collate "C" not null,
    joined_at       bigint not null,
    joined_seq      bigint not null,
    left_at         bigint, -- null for a member
    read_seq        bigint not null,
    read_message_no bigint not null,
    live            boolean not null, -- a member, and not of a closed pair
    primary key (room_id, user_id)
);

-- The rooms of a user.
create index chat_members_user on chat_members (user_id, room_id);
-- The rooms that make a user known to others: few, however many pairs are over.
create index chat_members_live on chat_members (user_id, room_id) where live;

create table chat_log (
    room_id       text collate "C" not null,
    seq           bigint not null,
    id            text collate "C" not null,
    kind          bigint not null check (kind between 1 and 6), -- message, edited, deleted, joined, left, closed
    actor         text collate "C" not null,
    client_msg_id text collate "C", -- of a message
    body_hash     bytea, -- of a message: sha-256 of body and metadata as sent, kept when they are gone
    body          text not null, -- of a message, as it reads now; of an edit; of a close, its reason
    metadata      text not null, -- of a message: JSON, or empty
    target_id     text, -- of an edit or delete
    target_seq    bigint,
    message_no    bigint not null, -- messages up to and including this row
    sent_at       bigint not null,
    trace_id      text not null,
    edited_at     bigint,
    deleted       boolean not null default false,
    primary key (room_id, seq)
);

-- A sender's key stands for one message.
create unique index chat_log_key on chat_log (room_id, actor, client_msg_id)
    where client_msg_id is not null;
-- The message that an edit or delete names.
create unique index chat_log_message on chat_log (room_id, id) where kind = 1;
-- A page of history passes over whatever else the log holds.
create index chat_log_history on chat_log (room_id, seq) where kind = 1;
-- The edits of a message.
create index chat_log_target on chat_log (room_id, target_seq, seq) where target_seq is not null;
