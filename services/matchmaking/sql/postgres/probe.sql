-- Answers when rows can be read, with the time that their times are compared with.
select (extract(epoch from clock_timestamp()) * 1000)::bigint as now
