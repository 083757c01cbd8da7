-- Answers when rows can be read.
select 1
