-- Remembers when users who left were last seen, a bounded number of them.
--
-- KEYS[1] - zset user -> ms of the last proof of life
-- ARGV[1] - users to remember; those seen longest ago are forgotten
-- ARGV[2] - ms after which a user is forgotten anyway; the key lives as long
-- ARGV[3...] - pairs of ms and user, packed
--
-- Returns how many are remembered.
--
-- timeout: unknown; a last_seen may be missing      late: LATE, or the same
-- twice: the same                                   restarted empty: all forgotten
for at = 3, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], 'GT', ARGV[at], ARGV[at + 1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms() - ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
