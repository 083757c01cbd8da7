-- The version of a tag, born when there is none.
--
-- KEYS[1] - the version
-- ARGV[1] - one that nobody has had: random
-- ARGV[2] - ms that it outlives this use
--
-- Returns it.
--
-- timeout: unknown, and harmless           late: LATE
-- twice: the same is told twice
-- restarted empty: another one is born: all that was stored under the old one is void
local version = redis.call('GET', KEYS[1])
if version and #version == 8 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return version
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
