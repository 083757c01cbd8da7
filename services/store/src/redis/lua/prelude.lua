-- Stands before every script.
--
-- ARGV[#ARGV - 1] - not_after: ms of this server's clock, when the caller gave up
-- ARGV[#ARGV]     - now: us since 1970 of a test's clock; empty: this server's
-- Both are taken away: what is left in ARGV is the script's own.
--
-- now_us(), now_ms() - since 1970, whole, the same all through one run. Above
-- 2^31: write them by %.0f or as an argument of redis.call, never by tostring.
--
-- Answers the error LATE, and runs nothing, when the caller has given up: a
-- server that was frozen executes what was abandoned meanwhile.
local now_us, now_ms
do
  local given = table.remove(ARGV)
  local not_after = tonumber(table.remove(ARGV))
  local time = redis.call('TIME')
  local us = time[1] * 1000000 + time[2]
  if us > not_after * 1000 then
    return redis.error_reply('LATE the caller has given up')
  end
  if given ~= '' then us = tonumber(given) end
  now_us = function() return us end
  now_ms = function() return math.floor(us / 1000) end
end

