-- Writes one user if it is still what the caller read: compare-and-swap over
-- the whole value, with the counters and the planned look in the same step.
--
-- KEYS[1] - hash user -> value of at most 64 bytes (stays a listpack)
-- KEYS[2] - hash user -> longer value
-- KEYS[3] - hash of the partition's counters
-- KEYS[4] - zset user -> ms when to look at the user
-- ARGV[1] - user, packed
-- ARGV[2] - the value that was read; '' for none
-- ARGV[3] - the value to write; '' drops the user
-- ARGV[4] - ms when to look; '' for never
-- ARGV[5] - 1: replaces a planned look; 0: only moves it forward
-- ARGV[6] - ms that the keys live
-- ARGV[7...] - pairs of counter and whole number to add
--
-- Returns {1, now in ms, ''} or {0, now in ms, the present value}.
--
-- timeout: unknown; whoever tries again reads what is there and decides anew
-- late: LATE, or another value is there     twice: another value is there
-- restarted empty: another generation's keys; what is written here nobody reads
local user, was, will = ARGV[1], ARGV[2], ARGV[3]
local present = redis.call('HGET', KEYS[1], user) or redis.call('HGET', KEYS[2], user) or ''
if present ~= was then return {0, now_ms(), present} end
local into = #will > 64 and KEYS[2] or KEYS[1]
local from = #will > 64 and KEYS[1] or KEYS[2]
if will ~= '' then redis.call('HSET', into, user, will) else redis.call('HDEL', into, user) end
if was ~= '' then redis.call('HDEL', from, user) end
if will == '' or (ARGV[4] == '' and ARGV[5] == '1') then
  redis.call('ZREM', KEYS[4], user)
elseif ARGV[4] ~= '' and ARGV[5] == '1' then
  redis.call('ZADD', KEYS[4], ARGV[4], user)
elseif ARGV[4] ~= '' then
  redis.call('ZADD', KEYS[4], 'LT', ARGV[4], user)
end
for at = 7, #ARGV, 2 do
  if redis.call('HINCRBY', KEYS[3], ARGV[at], ARGV[at + 1]) == 0 then
    redis.call('HDEL', KEYS[3], ARGV[at])
  end
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[6]) end
return {1, now_ms(), ''}
