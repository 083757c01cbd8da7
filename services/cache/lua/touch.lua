-- Moves the ends of a value on.
--
-- KEYS[1] - the entry
-- ARGV[1] - the life of the server's data
-- ARGV[2] - the version that is meant
-- ARGV[3] - us for which it is fresh from now on
-- ARGV[4] - us for which it is served
--
-- Returns 1 when it is there.
--
-- timeout: unknown; the same again moves them on once more
-- late: LATE, nothing is moved             twice: once more
-- restarted empty: 0
local there = head_of(KEYS[1], ARGV[1])
if not there or there.version ~= ARGV[2] then return 0 end
redis.call('SETRANGE', KEYS[1], SOFT, struct.pack('>I7I7', now + ARGV[3], now + ARGV[4]))
redis.call('PEXPIRE', KEYS[1], ms(ARGV[4]))
return 1
