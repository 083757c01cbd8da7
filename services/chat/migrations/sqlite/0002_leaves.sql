-- The event that told of a leave: who left reads on up to it. Null for a member,
-- and for who left before it was kept.
alter table chat_members add column left_seq integer;
