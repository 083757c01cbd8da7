-- Reads a key, and gives the lease to who wants it if nobody has it.
--
-- KEYS[1] - the entry
-- KEYS[2] - the lease
-- ARGV[1] - the life of the server's data
-- ARGV[2] - a version that counts as none, or ''
-- ARGV[3] - the token of a lease that is wanted, or ''
-- ARGV[4] - us that it lasts
-- ARGV[5] - the versions that it captures
-- ARGV[6] - millionths of what the load took, by which it is due before its soft end
--
-- Returns {now, lease, entry}: lease -1 when there is none, 0 when it was given, else the
-- us until another's ends; '' for no entry.
--
-- timeout: unknown; a lease that was given is nobody's until it ends
-- late: LATE, nothing is given             twice: the second is told of the first's lease
-- restarted empty: nothing is there, and nobody loads
local life, token = ARGV[1], ARGV[3]
local stored = redis.call('GET', KEYS[1])
local entry = entry_of(stored, life)
if entry and entry.version == ARGV[2] then entry = nil end
local lease = -1
if not entry or now + entry.load * ARGV[6] / 1000000 >= entry.soft then
  local held = lease_of(KEYS[2], life)
  if held then
    lease = held.till - now
  elseif token ~= '' then
    local till = now + ARGV[4]
    local given = 'L' .. life .. token .. struct.pack('>I7I7', now, till) .. ARGV[5]
    redis.call('SET', KEYS[2], given, 'PX', ms(ARGV[4]))
    lease = 0
  end
end
return {now, lease, entry and stored or ''}
