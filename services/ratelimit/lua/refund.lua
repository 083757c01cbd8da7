-- Gives a charge back to the limits that still hold something of it.
--
-- KEYS[1]    - the charge; KEYS[2...] - the states, one per limit
-- ARGV[1] - what is charged, as the caller read it
-- ARGV[2] - cost
-- ARGV[3] - comma-separated places of these limits in the charge
-- ARGV[4] - 1: not of a charge that was found made already
-- ARGV[5...] - per limit: kind 'S', 'G' or 'F', quota, window in us, step in us, burst
--
-- Returns 1 when something was given back, else 0.
--
-- timeout: unknown; the same call again finds the charge, or nothing
-- late: LATE, nothing is given back; the charge ends with its window
-- twice: 0, the charge is gone             restarted empty: 0, as are the states
local content, record = recall(KEYS[1])
if content ~= ARGV[1] or (ARGV[4] == '1' and repeated(record)) then return 0 end

local charged, places, given = marks(record), {}, 0
for place in ARGV[3]:gmatch('%d+') do places[#places + 1] = tonumber(place) end
-- All are read before any is written: one that cannot be read gives nothing back.
local all, states = limits(5), {}
for at, limit in ipairs(all) do states[at] = load(limit, KEYS[at + 1]) end
for at, limit in ipairs(all) do
  local mark = charged[places[at]]
  if mark and refund(limit, states[at], tonumber(ARGV[2]), mark) then
    save(limit, KEYS[at + 1], states[at])
    given = 1
  end
end
redis.call('DEL', KEYS[1])
return given
