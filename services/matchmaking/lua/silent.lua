-- Names the parked, by age. Changes nothing but that strays are dropped.
--
-- KEYS[1], ARGV[1..2] - as in queue.lua
-- ARGV[3]             - after which position, as a bound of ZRANGEBYLEX
-- ARGV[4]             - how many to look at
--
-- Returns {the last position looked at, '' at the end; then id and user of those
-- who may be asked for}.
local next = redis.call('ZRANGEBYLEX', parked, ARGV[3], '+', 'LIMIT', 0, ARGV[4])
local answer = { #next == tonumber(ARGV[4]) and next[#next] or '' }
for _, at in ipairs(next) do
  local id = string.sub(at, 17)
  local entry, spare = redis.call('HGET', entries, id), redis.call('HGET', spares, id)
  if not entry then
    drop(parked, at)
  elseif not spare or tonumber(spare) <= now then
    answer[#answer + 1] = id
    answer[#answer + 1] = cjson.decode(string.sub(entry, 20))[1]
  end
end
return answer
