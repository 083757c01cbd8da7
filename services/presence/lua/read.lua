-- Reads users of one partition, each at one moment.
--
-- KEYS[2i-1] - hash user -> value of at most 64 bytes, of the i-th user's bucket
-- KEYS[2i]   - the same for longer values
-- ARGV[i]    - the i-th user, packed
--
-- Returns {now in ms, {value or '' per user}}. A user is in one of both hashes;
-- only inside a script can a value not be missed while it moves.
--
-- timeout: nothing was written          late: reads, answers nobody
-- twice: the same                       restarted empty: another generation's keys
local values = {}
for at, user in ipairs(ARGV) do
  values[at] = redis.call('HGET', KEYS[2 * at - 1], user)
    or redis.call('HGET', KEYS[2 * at], user) or ''
end
return {now_ms(), values}
