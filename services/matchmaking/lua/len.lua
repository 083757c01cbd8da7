-- How many wait, the parked included.
--
-- KEYS[1] - zset of all who wait
return redis.call('ZCARD', KEYS[1])
