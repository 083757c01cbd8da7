-- Makes a subject as if it had used nothing of some limits.
--
-- KEYS[1...] - the states, one per limit
-- ARGV[1...] - per limit: kind 'S', 'G' or 'F', quota, window in us, step in us, burst
--
-- Returns 1. Of charges made before nothing is given back any more.
--
-- timeout: unknown; the same call again    late: LATE, nothing is changed
-- twice: what was charged in between is gone, too
-- restarted empty: the same
for at, limit in ipairs(limits(1)) do
  local state = load(limit, KEYS[at])
  if ends(limit, state) > 0 then
    reset(limit, state)
    save(limit, KEYS[at], state)
  end
end
return 1
