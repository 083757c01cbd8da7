-- Adds one entry, or refreshes it, and proposes a partner. Atomic: both leave
-- the index, so no other process is proposed either of them.
--
-- KEYS[1], ARGV[1..5] - as in queue.lua and propose.lua
-- ARGV[6..9]          - id, entry, proof of life in ms or '', spare in ms or '0'
-- ARGV[10]            - the buckets that may meet it, a byte each
--
-- Returns {} or the two, older first, each as id, entry, proof, spare.
local answer = {}
put(ARGV[6], ARGV[7], ARGV[8], ARGV[9])
propose(answer, ARGV[6], function() return ARGV[10] end)
return answer
