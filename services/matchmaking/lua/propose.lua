-- Looks for partners. Stands after queue.lua where something is proposed.
--
-- ARGV[3] - silence after which an entry is parked, ms
-- ARGV[4] - wait of both after which recent partners may meet, ms
-- ARGV[5] - entries that one search passes over at most
local alive_ms, relax_ms, depth = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local function is_silent(id)
  local proof = redis.call('HGET', proofs, id)
  return proof and now - tonumber(proof) >= alive_ms
end

local function park(key, at)
  redis.call('ZREM', key, at)
  add(parked, at)
end

-- By bytes, as zsets are; Lua compares strings by the server's locale.
local function before(one, other)
  for i = 1, math.min(#one, #other) do
    local a, b = string.byte(one, i), string.byte(other, i)
    if a ~= b then return a < b end
  end
  return #one < #other
end

local function knows(one, user)
  for i = 2, #one do
    if one[i] == user then return true end
  end
  return false
end

local function may_meet(entry, people, other)
  local them = cjson.decode(string.sub(other, 20))
  if people[1] == them[1] then return false end
  if not (knows(people, them[1]) or knows(them, people[1])) then return true end
  local younger = math.max(tonumber(string.sub(entry, 1, 16)), tonumber(string.sub(other, 1, 16)))
  return now - younger >= relax_ms
end

-- The next of a bucket: one to begin with, mostly enough, then as many as a
-- search can look at.
local function advance(head)
  head.at, head.next = head.list[head.next], head.next + 1
  if not head.at and head.count > 0 then
    head.list = redis.call('ZRANGE', head.key, head.count, head.count + depth)
    head.at, head.next, head.count = head.list[1], 2, head.count + #head.list
    if not head.at then head.count = 0 end
  end
end

local function oldest(heads)
  local best
  for _, head in ipairs(heads) do
    if head.at and (not best or before(head.at, best.at)) then best = head end
  end
  return best
end

-- `row` holds the numbers of the buckets that may meet its own, a byte each.
local function partner(own, entry, row)
  local heads = {}
  for i = 1, #row do
    local key = base .. 'b' .. string.format('%03d', string.byte(row, i))
    local list = redis.call('ZRANGE', key, 0, 0)
    if list[1] then
      heads[#heads + 1] = { key = key, list = list, at = list[1], next = 2, count = 1 }
    end
  end
  local people = cjson.decode(string.sub(entry, 20))
  local found, passed, silent, strays = nil, 0, {}, {}
  while passed < depth do
    local head = oldest(heads)
    if not head then break end
    local key, at = head.key, head.at
    advance(head)
    if at ~= own then
      local id = string.sub(at, 17)
      local other = redis.call('HGET', entries, id)
      if not other then
        strays[#strays + 1] = { key, at }
      elseif is_silent(id) then
        silent[#silent + 1] = { key, at }
      elseif may_meet(entry, people, other) then
        found = id
        break
      end
      passed = passed + 1
    end
  end
  for _, it in ipairs(silent) do park(it[1], it[2]) end
  for _, it in ipairs(strays) do drop(it[1], it[2]) end
  return found
end

-- Tells an entry and takes it out: id, entry, proof or '', spare or '0'.
local function give(answer, id)
  local proof, spare = redis.call('HGET', proofs, id), redis.call('HGET', spares, id)
  answer[#answer + 1] = id
  answer[#answer + 1] = redis.call('HGET', entries, id)
  answer[#answer + 1] = proof and whole(tonumber(proof) - shift) or ''
  answer[#answer + 1] = spare and whole(tonumber(spare) - shift) or '0'
  take(id)
end

-- Appends the entry and its oldest acceptable partner to `answer`, older first.
local function propose(answer, id, row)
  local entry = redis.call('HGET', entries, id)
  if not entry then return end
  local at = position(id, entry)
  if is_silent(id) then return park(bucket(entry), at) end
  local other = partner(at, entry, row(entry))
  if not other then return end
  local theirs = position(other, redis.call('HGET', entries, other))
  local first, second = id, other
  if before(theirs, at) then first, second = other, id end
  give(answer, first)
  give(answer, second)
end
