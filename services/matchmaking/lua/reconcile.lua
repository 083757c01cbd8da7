-- Makes the index agree with the rows between two positions.
--
-- KEYS[1], ARGV[1..2] - as in queue.lua
-- ARGV[3], ARGV[4]    - between which positions, as bounds of ZRANGEBYLEX
-- ARGV[5]             - stale entries that are looked for among so many at most;
--                       more are found when the sweep comes here again
-- ARGV[6..]           - the positions of the rows between the two
--
-- Drops who is not among the rows. Returns the positions of those who are not
-- in the index, or only in a part of it.
local truth, missing = {}, {}
for i = 6, #ARGV do
  truth[ARGV[i]] = true
  local at = ARGV[i]
  local entry = redis.call('HGET', entries, string.sub(at, 17))
  local placed = entry and redis.call('ZSCORE', all, at)
    and (redis.call('ZSCORE', bucket(entry), at) or redis.call('ZSCORE', parked, at))
  if not placed then missing[#missing + 1] = at end
end
for _, at in ipairs(redis.call('ZRANGEBYLEX', all, ARGV[3], ARGV[4], 'LIMIT', 0, ARGV[5])) do
  if not truth[at] then
    take(string.sub(at, 17))
    drop(all, at)
  end
end
return missing
