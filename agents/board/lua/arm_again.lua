-- arm_again: set bits that Postgres says are owed and the board has lost.
--
-- KEYS  1 epoch  2 version  3 pieces  4 campaign:C  5 owed:C:R  6 offer:C:R  7 results
-- ARGV  1 campaign  2 range  3 the stream's last entry when Postgres was read  4 bell channel  5… bits
-- returns the number of bits set, or -1: something was written to the stream since, so a clear bit may be an answer
-- that is not stored yet; look again later.
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
local info = redis.call('EXISTS', KEYS[7]) == 1 and redis.call('XINFO', 'STREAM', KEYS[7]) or {}
local last = '0-0'
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then last = info[i + 1] end
end
if last ~= ARGV[3] then return -1 end
if redis.call('HGET', KEYS[4], 'open') ~= '1' then return 0 end
local set = 0
for i = 5, #ARGV do
  redis.call('SETBIT', KEYS[5], ARGV[i], 1)
  set = set + 1 - redis.call('SETBIT', KEYS[6], ARGV[i], 1)
end
if set > 0 then
  local version = redis.call('INCR', KEYS[2])
  redis.call('HSET', KEYS[3], ARGV[1] .. ':' .. ARGV[2], version)
  redis.call('PUBLISH', ARGV[4], version)
end
return set
