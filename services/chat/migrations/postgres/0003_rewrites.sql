-- The last event that changed what was said before: pages of a room are kept by it.
alter table chat_rooms add column rewritten_seq bigint not null default 0;
