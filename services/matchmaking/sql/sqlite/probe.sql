-- Answers when rows can be read. The one process that reads them has their time.
select null as now
