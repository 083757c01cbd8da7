-- Takes or keeps the lease of the one process that sweeps.
--
-- KEYS[1] - string: who leads; lives as long as the lease
-- ARGV[1] - who asks
-- ARGV[2] - ms that the lease lasts
--
-- Returns {1 when the caller leads, now in ms}.
--
-- timeout: unknown; at worst nobody sweeps until the lease ends
-- late: LATE. Two leaders at once harm nobody: what they find they write by swap
-- twice: the same                           restarted empty: whoever asks first
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return {0, now_ms()} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1, now_ms()}
