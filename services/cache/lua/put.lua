-- Stores a value, and voids the lease.
--
-- KEYS[1] - the entry
-- KEYS[2] - the lease
-- ARGV[1] - the life of the server's data
-- ARGV[2] - the version that it will have
-- ARGV[3] - us for which it is fresh
-- ARGV[4] - us for which it is served
-- ARGV[5] - captured versions and value
-- ARGV[6] - in whose place: 'any', 'nothing' or 'version'
-- ARGV[7] - that version, or one that counts as none, or ''
--
-- Returns 1 when it is there, 0 when another one is than was expected.
--
-- timeout: unknown; the same again stores it, or finds it by its version
-- late: LATE, nothing is stored            twice: stored once more, the same
-- restarted empty: it is gone, as all is
local there = head_of(KEYS[1], ARGV[1])
local version = there and there.version or ''
local expected = ARGV[6] == 'any' or version == ARGV[7] or (ARGV[6] == 'nothing' and not there)
if not expected then return version == ARGV[2] and 1 or 0 end
redis.call('DEL', KEYS[2])
keep(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 0, ARGV[5])
return 1
