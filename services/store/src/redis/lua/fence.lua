-- Compares the server with what its data was written by, before the first read
-- of a connection, and starts a new generation when they differ.
--
-- KEYS[1] - hash {run_id, generation, pulse}; no TTL: it must live exactly as
--           long as the data beside it, and be lost with it. The pulse says
--           nothing: it is what a connection writes to see that it may
-- ARGV[1] - run_id that INFO told on this connection
-- ARGV[2] - a new generation, random
--
-- Returns the generation that holds from here on. Atomic: of many connections
-- that find a difference one starts the new generation. Writes in any case, so
-- that a server without memory, disk or the leave to write is not taken for one
-- that serves.
local held = redis.call('HMGET', KEYS[1], 'run_id', 'generation')
local generation = held[2]
if held[1] ~= ARGV[1] or not generation then generation = ARGV[2] end
redis.call('HSET', KEYS[1], 'run_id', ARGV[1], 'generation', generation)
return generation
