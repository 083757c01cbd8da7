-- The queue of one pool, as domain/queue.rs has it in memory. Stands after the
-- prelude and before each script of the index; a property test holds the two
-- to the same proposals.
--
-- KEYS[1] - zset of all who wait, "<tag>:1:<generation>:<buckets>:w". The other
--           keys are named after it and live in its slot, so that a script need
--           not be told of 256 buckets:
--           w        zset   position, everybody who waits
--           b<nnn>   zset   position, those of bucket nnn who are not parked
--           p        zset   position, those who are parked
--           e        hash   id -> entry
--           a        hash   id -> last proof of life, ms; none for a lease
--           s        hash   id -> not asked for before, ms; none for "now"
-- ARGV[1] - now of the caller's clock, ms; times that come and go are of that
--           clock, those that stay are of this server's
-- ARGV[2] - TTL of keys, ms: longer than any ticket waits, so that a key that
--           is not written any more holds nobody who could be matched
--
-- position - created_at in 16 digits, then the ticket's id: all scores are 0,
--            so that zsets are in the order of bytes, which is that of ages
-- entry    - created_at in 16 digits, bucket in 3, JSON [user, recent partners...]
--
-- What happens when the reply is lost, for every script here:
--   timeout        it ran or never will (LATE); whoever left the index without
--                  being paired is found missing by the sweep, from the rows
--   late           LATE, and nothing is changed
--   duplicate      an entry has one place; who is gone stays gone
--   restart empty  another generation, hence other names; built from the rows
local all = KEYS[1]
local base = string.sub(all, 1, -2)
local entries, proofs, spares, parked = base .. 'e', base .. 'a', base .. 's', base .. 'p'
local now, ttl = now_ms(), ARGV[2]
local shift = now - tonumber(ARGV[1])

local function whole(number) return string.format('%.0f', number) end
local function position(id, entry) return string.sub(entry, 1, 16) .. id end
local function bucket(entry) return base .. 'b' .. string.sub(entry, 17, 19) end

local function add(key, at)
  redis.call('ZADD', key, 0, at)
  redis.call('PEXPIRE', key, ttl)
end

local function take(id)
  local entry = redis.call('HGET', entries, id)
  if not entry then return end
  local at = position(id, entry)
  for _, key in ipairs({ entries, proofs, spares }) do redis.call('HDEL', key, id) end
  for _, key in ipairs({ all, parked, bucket(entry) }) do redis.call('ZREM', key, at) end
end

-- A place whose entry is gone: an eviction takes single keys. `key` is where it
-- was met; reconcile.lua names its row as missing, and it is put back.
local function drop(key, at)
  for _, of in ipairs({ key, all, parked }) do redis.call('ZREM', of, at) end
end

-- Adds who is not there, and takes over newer facts of who is; the age stays.
local function put(id, entry, proof, spare)
  proof = tonumber(proof)
  if proof then proof = proof + shift end
  local known = redis.call('HGET', entries, id)
  if known then
    local old = tonumber(redis.call('HGET', proofs, id) or nil)
    if proof and old then proof = math.max(proof, old) end
    take(id)
    entry = string.sub(known, 1, 16) .. string.sub(entry, 17)
  end
  redis.call('HSET', entries, id, entry)
  if proof then redis.call('HSET', proofs, id, whole(proof)) end
  spare = tonumber(spare)
  if spare > 0 then redis.call('HSET', spares, id, whole(spare + shift)) end
  local at = position(id, entry)
  add(all, at)
  add(bucket(entry), at)
  for _, key in ipairs({ entries, proofs, spares }) do redis.call('PEXPIRE', key, ttl) end
end
