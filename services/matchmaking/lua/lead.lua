-- The lease of the sweep: takes it when it is free or over, renews one's own.
--
-- KEYS[1] - hash {holder, until}, of one generation: a server that restarted
--           has no leader, and the next one rebuilds the index
-- ARGV[1] - holder
-- ARGV[2] - how long it holds, ms
--
-- Returns 0 when another leads, 1 when the lease begins, 2 when it goes on.
--
--   timeout        held by who does not know it, until it ends or is asked for
--   late           LATE, and nothing is changed
--   duplicate      renewed twice
--   restart empty  another name; the lease begins anew
-- Two who lead at once, one of them without knowing, do the same work twice:
-- every step of the sweep may be.
local held = redis.call('HMGET', KEYS[1], 'holder', 'until')
local now, ttl = now_ms(), tonumber(ARGV[2])
local left = held[2] and tonumber(held[2]) - now or 0
-- Further ahead than any lease: the clock was set back.
local over = left <= 0 or left > ttl
if not over and held[1] ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'until', string.format('%.0f', now + ttl))
redis.call('PEXPIRE', KEYS[1], 3600000)
if over then return 1 end
return 2
