-- What is kept of a key, before the scripts that use it. All times are whole
-- microseconds, below 2^53; numbers are big endian.
--
-- An entry is 'C', life (8 bytes), version (8), stored, soft end, hard end and what its
-- load took (7 each), then its captured versions and its value, which are the caller's.
-- A lease is 'L', life (8), token (16), since, until (7 each) and captured versions. The
-- letter is the version, too: what begins with another one, or is of another life of the
-- server's data, counts as none.
-- Captured versions are their number (1), and of each the length of its tag (1), the tag
-- and the version (8), sorted.
local now = now_us()
local HEAD, SOFT = 45, 24

-- The head of the entry at a key, if it is one now.
local function entry_of(stored, life)
  if not stored or #stored < HEAD or stored:sub(1, 1) ~= 'C' then return nil end
  local of, version, _, soft, hard, load = struct.unpack('>c8c8I7I7I7I7', stored, 2)
  if of ~= life or now >= hard then return nil end
  return {version = version, soft = soft, hard = hard, load = load}
end

local function head_of(key, life)
  return entry_of(redis.call('GETRANGE', key, 0, HEAD - 1), life)
end

local function lease_of(key, life)
  local stored = redis.call('GET', key)
  if not stored or stored:sub(1, 1) ~= 'L' then return nil end
  local of, token, since, till, at = struct.unpack('>c8c16I7I7', stored, 2)
  if of ~= life or now >= till then return nil end
  return {token = token, since = since, till = till, captured = stored:sub(at)}
end

local function ms(us) return string.format('%.0f', math.ceil(us / 1000)) end

local function keep(key, life, version, soft, hard, load, rest)
  local head = struct.pack('>I7I7I7I7', now, now + soft, now + hard, load)
  redis.call('SET', key, 'C' .. life .. version .. head .. rest, 'PX', ms(hard))
end
