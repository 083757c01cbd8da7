-- Reads the registry of nodes, or one node.
--
-- KEYS[1] - hash node id -> its starts
-- ARGV[1] - the node; absent for all
--
-- Returns {now in ms, {node id, value, ...}}.
--
-- timeout: nothing was written          late: reads, answers nobody
-- twice: the same                       restarted empty: another generation's key
if not ARGV[1] then return {now_ms(), redis.call('HGETALL', KEYS[1])} end
local value = redis.call('HGET', KEYS[1], ARGV[1])
return {now_ms(), value and {ARGV[1], value} or {}}
