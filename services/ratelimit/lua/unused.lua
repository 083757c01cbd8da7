-- Gives back what was taken ahead of time and not used, whatever the limits are by now:
-- what else is counted stays as it is, and so does the end of each key.
--
-- KEYS[1...] - the states, one per limit
-- ARGV[1] - how much was charged, the cost of then included
-- ARGV[2] - how much of it was not used
-- ARGV[3] - the marks, three numbers per limit: '1,2,3 4,5,6'
-- ARGV[4...] - per limit, as it was then: kind 'S', 'G' or 'F', quota, window in us, step
--              in us, burst
--
-- Returns per limit 1 when something was given back, else 0.
--
-- timeout: unknown, and not tried again; it ends with its window
-- late: LATE, nothing is given back          twice: given back twice: is not sent twice
-- restarted empty: 0; of a coarse window what others charged meanwhile
local charged, unused = tonumber(ARGV[1]), tonumber(ARGV[2])
local all, states, taken, given = limits(4), {}, marks(ARGV[3]), {}
for at, limit in ipairs(all) do
  -- No slot is too old.
  if limit.kind == 'S' then limit.window = 2 ^ 52 end
  states[at] = load(limit, KEYS[at])
  -- Not as of the window of then: it may have another length.
  local kept = limit.kind == 'F' and redis.call('GET', KEYS[at])
  if kept and kept:sub(1, 1) == 'F' then
    local from, born, used = struct.unpack('>I7I7I4', kept, 2)
    states[at] = {from = from, born = born, used = used}
  end
end
for at, limit in ipairs(all) do
  local mark = taken[at]
  -- Of a pace the last of it.
  if limit.kind == 'G' then mark[1] = mark[1] + limit.step * (charged - unused) end
  given[at] = refund(limit, states[at], unused, mark) and 1 or 0
  if given[at] == 1 then redis.call('SET', KEYS[at], stored(limit, states[at]), 'KEEPTTL') end
end
return given
