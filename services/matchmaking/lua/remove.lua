-- Takes a ticket out; none is no error.
--
-- KEYS[1], ARGV[1..2] - as in queue.lua
-- ARGV[3]             - id
take(ARGV[3])
