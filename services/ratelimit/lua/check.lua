-- Charges one subject against several limits, all or nothing, or only looks.
--
-- KEYS[1]    - the charge: what was charged, until when it is remembered, marks
-- KEYS[2...] - the states, one per limit
-- ARGV[1] - 'take', 'peek', or 'hold': take it, and when it was charged before, give
--           it back and take it anew, or change nothing
-- ARGV[2] - cost
-- ARGV[3] - what is charged, as text: the cost and the names of the limits
-- ARGV[4] - ms that the charge is remembered; 0: it is not
-- ARGV[5] - one character per limit: 's' for a shadow limit, which never denies; empty
--           where there is none
-- ARGV[6...] - per limit: kind 'S', 'G' or 'F', quota, window in us, step in us, burst
--
-- Returns {verdict, then remaining, retry, reset per limit}: verdict 0 denied,
-- 1 allowed, 2 charged before, and held until now by all, 3 the id was used for
-- another charge; us, retry 0 where admitted and -1 for never. What is denied writes
-- nothing; what is charged before, or held anew, is marked so.
--
-- timeout: unknown; the same call again finds the charge, or makes it
-- late: LATE, nothing is charged           twice: 2, charged once
-- restarted empty: counting begins anew: a window may once hold its quota twice
local mode, cost = ARGV[1], tonumber(ARGV[2])
local content, record = nil, nil
local remembered = mode ~= 'peek' and ARGV[4] ~= '0'
if remembered then content, record = recall(KEYS[1]) end
if content and content ~= ARGV[3] then return {3} end
local held = content and mode == 'hold' and marks(record)
local found = content and not held
if found and not repeated(record) then redis.call('APPEND', KEYS[1], REPEATED) end

local all, states, answer = limits(6), {}, {content and 2 or 1}
for at, limit in ipairs(all) do
  states[at] = load(limit, KEYS[at + 1])
  local lost = held and held[at] and not refund(limit, states[at], cost, held[at])
  if lost and answer[1] == 2 then answer[1] = 1 end
  local remaining, retry, reset = judge(limit, states[at], found and 0 or cost)
  limit.admits = retry == 0
  if retry ~= 0 and ARGV[5]:sub(at, at) ~= 's' then answer[1] = 0 end
  answer[at * 3 - 1], answer[at * 3], answer[at * 3 + 1] = remaining, retry, reset
end
if mode == 'peek' or found or answer[1] == 0 then return answer end

local written = {}
for at, limit in ipairs(all) do
  written[at] = '-'
  if limit.admits then
    local mark = charge(limit, states[at], cost, now)
    if remembered then
      written[at] = string.format('%.0f,%.0f,%.0f', mark[1], mark[2], mark[3])
    end
    save(limit, KEYS[at + 1], states[at])
    answer[at * 3 - 1], answer[at * 3], answer[at * 3 + 1] = judge(limit, states[at], 0)
  end
end
if not remembered then return answer end
local till = string.format('%.0f', now + ARGV[4] * 1000)
local kept = table.concat(written, ' ') .. (held and REPEATED or '')
redis.call('SET', KEYS[1], ARGV[3] .. '|' .. till .. '|' .. kept, 'PX', ARGV[4])
return answer
