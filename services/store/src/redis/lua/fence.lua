-- Compares the server with what its data was written by, before the first read
-- of a connection, and starts a new generation when they differ.
--
-- KEYS[1] - hash {run_id, generation}; no TTL: it must live exactly as long as
--           the data beside it, and be lost with it
-- ARGV[1] - run_id that INFO told on this connection
-- ARGV[2] - a new generation, random
--
-- Returns the generation that holds from here on. Atomic: of many connections
-- that find a difference one starts the new generation.
local held = redis.call('HMGET', KEYS[1], 'run_id', 'generation')
if held[1] == ARGV[1] and held[2] then
  return held[2]
end
redis.call('HSET', KEYS[1], 'run_id', ARGV[1], 'generation', ARGV[2])
return ARGV[2]
