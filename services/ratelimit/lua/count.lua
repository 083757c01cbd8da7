-- The arithmetic of domain/window.rs, pace.rs and fixed.rs, before the scripts
-- that use it. All times are whole microseconds, below 2^53.
--
-- A stored state is 'S', last (7 bytes), then slots of start (7) and cost (4);
-- or 'G', due, given, born, until when something was taken ahead of time, last (7 bytes
-- each); or 'F', start, born (7 each) and cost (4). Big endian. The letter
-- is the version, too: what begins with another one counts as unused.
-- A limit is {kind, quota, window, step, burst}.
local now = now_us()

local function load(limit, key)
  local stored = redis.call('GET', key)
  if not stored or stored:sub(1, 1) ~= limit.kind then stored = nil end
  if limit.kind == 'G' then
    -- One of before `till` and `last` were stored is shorter.
    local whole = (stored or 'G') .. ('\0'):rep(35)
    local due, given, born, till, last = struct.unpack('>I7I7I7I7I7', whole, 2)
    return {due = due, given = given, born = born, till = till, last = last}
  end
  if limit.kind == 'F' then
    local state = {from = now - now % limit.window, born = 0, used = 0}
    if stored then
      local start, born, cost = struct.unpack('>I7I7I4', stored, 2)
      state.born = born
      -- Of a window that had another length it may be no multiple.
      local from = start - start % limit.window
      if from >= state.from then state.from, state.used = from, cost end
    end
    return state
  end
  local state, at = {last = 0, used = 0}, 9
  if not stored then return state end
  state.last = struct.unpack('>I7', stored, 2)
  while at <= #stored do
    local start, cost
    start, cost, at = struct.unpack('>I7I4', stored, at)
    if start + limit.step - 1 + limit.window > math.max(now, state.last) then
      state[#state + 1] = {start, cost}
      state.used = state.used + cost
    end
  end
  return state
end

local function over(limit, slot) return slot[1] + limit.step - 1 + limit.window - now end

-- Until when it is counted, from now; not above 0: as if unused.
local function ends(limit, state)
  if limit.kind == 'G' then return math.max(state.due, state.born) - now end
  if limit.kind == 'F' then
    return (state.used > 0 and state.from + limit.window or state.born) - now
  end
  -- Of all: one that a reset left may be of another grain, and end first.
  local left = 0
  for _, slot in ipairs(state) do
    local grain = slot[1] - slot[1] % limit.step + limit.step - now
    left = math.max(left, slot[2] > 0 and over(limit, slot) or grain)
  end
  return left
end

local function stored(limit, state)
  if limit.kind == 'G' then
    local due, given, born = state.due, state.given, state.born
    return 'G' .. struct.pack('>I7I7I7I7I7', due, given, born, state.till, state.last)
  end
  if limit.kind == 'F' then
    return 'F' .. struct.pack('>I7I7I4', state.from, state.born, state.used)
  end
  local slots = {'S', struct.pack('>I7', state.last)}
  for _, slot in ipairs(state) do slots[#slots + 1] = struct.pack('>I7I4', slot[1], slot[2]) end
  return table.concat(slots)
end

local function save(limit, key, state)
  local left = ends(limit, state)
  if left <= 0 then return redis.call('DEL', key) end
  local ms = string.format('%.0f', math.ceil(left / 1000))
  return redis.call('SET', key, stored(limit, state), 'PX', ms)
end

-- remaining, retry (0: admitted, -1: never), reset
local function judge(limit, state, cost)
  if limit.kind == 'G' then
    local at = math.max(now, state.last)
    local ahead, most = math.max(0, state.due - at), limit.step * limit.burst
    local over = ahead + limit.step * cost - most
    local retry = over > 0 and at - now + over or 0
    if cost == 0 then retry = 0 elseif cost > limit.burst then retry = -1 end
    local reset = ahead > 0 and state.due - now or 0
    return math.floor(math.max(0, most - ahead) / limit.step), retry, reset
  end
  local need, retry = state.used + cost - limit.quota, 0
  if cost > limit.quota then
    retry = -1
  elseif limit.kind == 'F' and cost > 0 and need > 0 then
    retry = state.from + limit.window - now
  end
  for _, slot in ipairs(state) do
    if cost == 0 or retry ~= 0 or need <= 0 then break end
    need = need - slot[2]
    if need <= 0 then retry = over(limit, slot) end
  end
  local reset = 0
  if limit.kind == 'F' then
    reset = state.used > 0 and math.max(0, ends(limit, state)) or 0
  end
  for _, slot in ipairs(state) do
    if slot[2] > 0 then reset = over(limit, slot) end
  end
  return math.max(0, limit.quota - state.used), retry, reset
end

-- What may be charged as at `at`, now or a little later.
local function room(limit, state, at)
  if limit.kind ~= 'G' then return limit.quota - state.used end
  local ahead = math.max(0, math.max(state.due, at) - math.max(now, state.last))
  return math.floor((limit.step * limit.burst - ahead) / limit.step)
end

-- Charged as at `at`, now or a little later. Answers what the charge needs to be given
-- back: three numbers.
local function charge(limit, state, cost, at)
  if limit.kind == 'G' then
    state.last = math.max(now, state.last)
    if state.due <= state.last then
      state.due, state.given, state.born = state.last, 0, math.max(state.last, state.born + 1)
    end
    if at > now then state.due, state.till = math.max(state.due, at), math.max(state.till, at) end
    local mark = {state.due, state.given, state.born}
    state.due = state.due + limit.step * cost
    return mark
  end
  if limit.kind == 'F' then
    if state.used == 0 then state.born = math.max(now, state.born + 1) end
    state.used = state.used + cost
    return {state.from, 0, state.born}
  end
  state.last = math.max(now, state.last)
  local start, last = math.max(at, state.last), state[#state]
  start = start - start % limit.step
  if last and last[1] >= start then
    start, last[2] = last[1], last[2] + cost
  else
    state[#state + 1] = {start, cost}
  end
  state.used = state.used + cost
  return {start, 0, 0}
end

-- True when something of it was still held.
local function refund(limit, state, cost, mark)
  if limit.kind == 'G' then
    state.last = math.max(now, state.last)
    if state.due <= state.last or state.born ~= mark[3] then return false end
    local begins = mark[1] - math.max(0, state.given - mark[2])
    -- What was taken ahead of time stands behind nothing that is over by its end.
    local over = math.max(0, math.max(state.last, state.till) - begins)
    local held = math.max(0, limit.step * cost - over)
    state.due, state.given = state.due - held, state.given + held
    return held > 0
  end
  if limit.kind == 'F' then
    local same = state.from == mark[1] and state.born == mark[3]
    local held = same and math.min(cost, state.used) or 0
    state.used = state.used - held
    return held > 0
  end
  -- What load dropped must stay so when the clock goes back.
  state.last = math.max(now, state.last)
  for at, slot in ipairs(state) do
    if slot[1] == mark[1] then
      local given = math.min(cost, slot[2])
      slot[2], state.used = slot[2] - given, state.used - given
      -- One that began with a reset tells what was before it.
      if slot[2] == 0 and slot[1] % limit.step == 0 then table.remove(state, at) end
      return true
    end
  end
  return false
end

-- As if unused, and so that no charge of before is given back to it.
local function reset(limit, state)
  if limit.kind == 'G' then
    local at = math.max(now, state.last)
    state.due, state.given, state.born = at, 0, math.max(at, state.born) + 1
    state.till, state.last = 0, at
  elseif limit.kind == 'F' then
    state.used, state.born = 0, math.max(now, state.born) + 1
  else
    local newest = #state > 0 and state[#state][1] or 0
    for slot = #state, 1, -1 do state[slot] = nil end
    state.last, state.used = math.max(now, state.last, newest) + 1, 0
    state[1] = {state.last, 0}
  end
end

-- A charge that is remembered: what was charged, and the marks by limit.
local function recall(key)
  local record = redis.call('GET', key)
  local content, till, marks = (record or ''):match('^(.-)|(%d+)|(.*)$')
  if content and tonumber(till) > now then return content, marks end
end

-- Behind the marks of a charge that was found made already.
local REPEATED = ' r'

local function repeated(record) return record:sub(-#REPEATED) == REPEATED end

-- By limit, false where nothing was charged.
local function marks(record)
  local all = {}
  for mark in record:gmatch('%S+') do
    local a, b, c = mark:match('^(%d+),(%d+),(%d+)$')
    all[#all + 1] = a and {tonumber(a), tonumber(b), tonumber(c)} or false
  end
  return all
end

-- The limits in ARGV from `first` on, five each.
local function limits(first)
  local all = {}
  for at = first, #ARGV, 5 do
    all[#all + 1] = {
      kind = ARGV[at], quota = tonumber(ARGV[at + 1]), window = tonumber(ARGV[at + 2]),
      step = tonumber(ARGV[at + 3]), burst = tonumber(ARGV[at + 4]),
    }
  end
  return all
end

