-- Adds entries, or refreshes them, and proposes nothing.
--
-- KEYS[1], ARGV[1..2] - as in queue.lua
-- ARGV[3..]           - id, entry, proof of life in ms or '', spare in ms or '0', of each
for i = 3, #ARGV, 4 do put(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]) end
