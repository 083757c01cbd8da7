-- Gives back what was taken ahead of time and not used.
--
-- KEYS[1...] - the states, one per limit
-- ARGV[1] - how much was charged, the cost of then included
-- ARGV[2] - how much of it was not used
-- ARGV[3] - the marks, three numbers per limit: '1,2,3 4,5,6'
-- ARGV[4...] - per limit: kind 'S', 'G' or 'F', quota, window in us, step in us, burst
--
-- Returns 1 when something was given back, else 0.
--
-- timeout: unknown, and not tried again; it ends with its window
-- late: LATE, nothing is given back          twice: given back twice: is not sent twice
-- restarted empty: 0, as are the states
local charged, unused, given = tonumber(ARGV[1]), tonumber(ARGV[2]), 0
local all, states, taken = limits(4), {}, marks(ARGV[3])
for at, limit in ipairs(all) do states[at] = load(limit, KEYS[at]) end
for at, limit in ipairs(all) do
  local mark = taken[at]
  -- Of a pace the last of it.
  if limit.kind == 'G' then mark[1] = mark[1] + limit.step * (charged - unused) end
  if refund(limit, states[at], unused, mark) then
    save(limit, KEYS[at], states[at])
    given = 1
  end
end
return given
