-- Charges one subject against several limits, all or nothing, and takes more of them
-- for whoever asks, to be used until a moment that is close.
--
-- KEYS[1...] - the states, one per limit
-- ARGV[1] - cost
-- ARGV[2] - how much more is wanted
-- ARGV[3] - of what is left after the cost one part of so many is given at most
-- ARGV[4] - us that it may be used
-- ARGV[5...] - per limit: kind 'S', 'G' or 'F', quota, window in us, step in us, burst
--
-- Returns {verdict, given, us, then remaining, retry, reset and three numbers of a mark
-- per limit}: verdict 0 denied, 1 allowed. What is given, and the cost with it, is
-- charged as at the end of the time: whenever it is used, it counts for a whole window
-- from then. Nothing is given of a limit of which little is left.
--
-- timeout: unknown, and nobody uses it; it ends with its window
-- late: LATE, nothing is charged             twice: charged twice, and used once
-- restarted empty: counting begins anew: a window may once hold its quota twice
local cost, more, till = tonumber(ARGV[1]), tonumber(ARGV[2]), now + ARGV[4]
local all, states, answer = limits(5), {}, {1, 0, 0}
for at, limit in ipairs(all) do
  states[at] = load(limit, KEYS[at])
  local remaining, retry, reset = judge(limit, states[at], cost)
  if retry ~= 0 then answer[1] = 0 end
  for _, number in ipairs({remaining, retry, reset, 0, 0, 0}) do answer[#answer + 1] = number end
  -- It ends with the window that it is charged to.
  if limit.kind == 'F' then till = math.min(till, now - now % limit.window + limit.window) end
end
if answer[1] == 0 then return answer end

for at, limit in ipairs(all) do
  local left, most = room(limit, states[at], till) - cost, limit.quota
  if limit.kind == 'G' then most = limit.burst end
  if left * 20 < most then more = 0 end
  more = math.max(0, math.min(more, math.floor(left / ARGV[3])))
end
if more == 0 then till = now end
answer[2], answer[3] = more, till - now
for at, limit in ipairs(all) do
  local mark = charge(limit, states[at], cost + more, till)
  save(limit, KEYS[at], states[at])
  local first = at * 6 - 2
  answer[first], answer[first + 1], answer[first + 2] = judge(limit, states[at], 0)
  for n = 1, 3 do answer[first + 2 + n] = mark[n] end
end
return answer
