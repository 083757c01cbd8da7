-- Says that an instance lives, or that it leaves, and counts those that live.
--
-- KEYS[1] - the instances, by when each last said so (ms)
-- ARGV[1] - this instance
-- ARGV[2] - ms after which one that says nothing counts no more
-- ARGV[3] - 1: it leaves
--
-- Returns how many live.
--
-- timeout: unknown; the next beat says it again
-- late: LATE, nothing is said              twice: as once
-- restarted empty: each is back with its next beat
local now = now_ms()
if ARGV[3] == '1' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
