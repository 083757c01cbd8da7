-- Writes one node if it is still what the caller read.
--
-- KEYS[1] - hash node id -> its starts
-- ARGV[1] - the node
-- ARGV[2] - the value that was read; '' for none
-- ARGV[3] - the value to write; '' forgets the node
-- ARGV[4] - ms when the decision no longer holds; '' for always
-- ARGV[5] - ms that the key lives
--
-- Returns {1, now in ms, ''} or {0, now in ms, the present value}: decide anew.
--
-- timeout: unknown; the caller's retry decides on what is there
-- late: LATE, or past ARGV[4]               twice: another value is there
-- restarted empty: another generation's key; a renewal finds no node
local present = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if present ~= ARGV[2] or (ARGV[4] ~= '' and now_ms() >= tonumber(ARGV[4])) then
  return {0, now_ms(), present}
end
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
else
  redis.call('HDEL', KEYS[1], ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return {1, now_ms(), ''}
