-- Notes that owners were there just now; who was parked can be matched again.
--
-- KEYS[1], ARGV[1..2] - as in queue.lua
-- ARGV[3..]           - ids; those of other pools are not here and ignored
for i = 3, #ARGV do
  local id = ARGV[i]
  local entry = redis.call('HGET', entries, id)
  local proof = entry and redis.call('HGET', proofs, id)
  if proof and tonumber(proof) < now then redis.call('HSET', proofs, id, whole(now)) end
  if entry then
    local at = position(id, entry)
    if redis.call('ZREM', parked, at) == 1 then add(bucket(entry), at) end
  end
end
