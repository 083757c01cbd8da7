-- Compares servers with what their data was written by, before the first read
-- of a connection, and starts a new generation when one differs.
--
-- KEYS[1] - hash {generation, pulse, and what each server is}; no TTL: it must live
--           exactly as long as the data beside it, and be lost with it. The pulse
--           says nothing: it is what a connection writes to see that it may.
--           Fields: run_id where one server has all; in a cluster run:<node id>
--           and the marks' keys, as many as it ever had servers
-- ARGV[1] - a new generation, random
-- ARGV[2] - field of a server, or of a mark
-- ARGV[3] - what it is now
-- ARGV[4] - 1 when one that is not known yet has lost nothing, or 0
-- And so on, three for each.
--
-- Returns the generation that holds from here on. Atomic: of many connections
-- that find a difference one starts the new generation. Writes in any case, so
-- that a server without memory, disk or the leave to write is not taken for one
-- that serves.
local generation = redis.call('HGET', KEYS[1], 'generation')
local holds = generation
for at = 2, #ARGV, 3 do
  local held = redis.call('HGET', KEYS[1], ARGV[at])
  if held ~= ARGV[at + 1] and (held or ARGV[at + 2] == '0') then holds = false end
  redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
end
if not holds then generation = ARGV[1] end
redis.call('HSET', KEYS[1], 'generation', generation)
return generation
