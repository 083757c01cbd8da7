-- Ends a lease with what became of its load.
--
-- KEYS[1] - the entry
-- KEYS[2] - the lease
-- ARGV[1] - the life of the server's data
-- ARGV[2] - the token
-- ARGV[3] - the version that the value will have, made from the token
-- ARGV[4] - 'value', 'absent' or 'failed'
-- ARGV[5] - us for which it is fresh; of 'failed', for which what is there is
-- ARGV[6] - us for which it is served
-- ARGV[7] - the versions of its tags
-- ARGV[8] - the value
--
-- Returns 0 rejected, 1 stored, 2 what is there is served on, 3 nothing is there.
--
-- timeout: unknown; the same again ends it, or finds the value by its version
-- late: LATE, the lease stays until its end  twice: 1 when it was stored, else 0
-- restarted empty: 0, the lease is gone
local function versions(captured)
  local all, at = {}, 2
  for _ = 1, captured:byte(1) do
    local tag, version
    tag, version, at = struct.unpack('>Bc0c8', captured, at)
    all[tag] = version
  end
  return all
end

local life, what = ARGV[1], ARGV[4]
local there, held = head_of(KEYS[1], life), lease_of(KEYS[2], life)
if not held or held.token ~= ARGV[2] then
  return there and there.version == ARGV[3] and 1 or 0
end
redis.call('DEL', KEYS[2])
if what == 'value' then
  local captured = versions(held.captured)
  for tag, version in pairs(versions(ARGV[7])) do
    if captured[tag] ~= version then return 0 end
  end
  keep(KEYS[1], life, ARGV[3], ARGV[5], ARGV[6], now - held.since, ARGV[7] .. ARGV[8])
  return 1
end
if what == 'absent' or not there then
  redis.call('DEL', KEYS[1])
  return 3
end
local soft = math.max(there.soft, now + ARGV[5])
redis.call('SETRANGE', KEYS[1], SOFT, struct.pack('>I7', soft))
return 2
