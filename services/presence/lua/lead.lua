-- Takes or keeps the lease of the one process that sweeps.
--
-- KEYS[1] - string: '+' when the leader knows who is offline, '-' while it
--           rests, then who leads; lives as long as the lease
-- ARGV[1] - who asks
-- ARGV[2] - ms that the lease lasts
-- ARGV[3] - '+' or '-', of who asks
--
-- Returns {1 when the caller leads, now in ms, 1 when another leads who does
-- not rest}.
--
-- timeout: unknown; at worst nobody sweeps until the lease ends
-- late: LATE, so that no '+' of before a silence is believed after it. Two
--   leaders at once harm nobody: what they find they write by swap
-- twice: the same                           restarted empty: whoever asks first
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 2) ~= ARGV[1] then
  return {0, now_ms(), string.sub(held, 1, 1) == '+' and 1 or 0}
end
redis.call('SET', KEYS[1], ARGV[3] .. ARGV[1], 'PX', ARGV[2])
return {1, now_ms(), 0}
