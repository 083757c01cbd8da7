-- Proposes pairs among those who wait already, by age, in bounded steps.
--
-- KEYS[1], ARGV[1..5] - as in queue.lua and propose.lua
-- ARGV[6]             - after which position, as a bound of ZRANGEBYLEX
-- ARGV[7]             - up to which, the same; '' before the first step
-- ARGV[8]             - entries of all steps together
-- ARGV[9]             - entries of one step
-- ARGV[10 + n]        - the buckets that may meet bucket n, a byte each
--
-- Returns {up to which; the last position looked at, '' when the steps are
-- done; then the proposed, two by two, older first, each as id, entry, proof,
-- spare}.
local from, to, budget, step = ARGV[6], ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])
if to == '' then
  local last = redis.call('ZRANGEBYLEX', all, from, '+', 'LIMIT', whole(budget - 1), 1)[1]
  to = last and '[' .. last or '+'
end
local function row(entry) return ARGV[10 + tonumber(string.sub(entry, 17, 19))] end
local next = redis.call('ZRANGEBYLEX', all, from, to, 'LIMIT', 0, whole(step))
local answer = { to, #next == step and next[#next] or '' }
for _, at in ipairs(next) do propose(answer, string.sub(at, 17), row) end
return answer
