-- ask: let hosts of one range be asked housekeeping SQL at their next read.
--
-- KEYS  1 epoch  2 version  3 pieces  4 campaign:C  5 owed:C:R  6 offer:C:R      (C is negative)
-- ARGV  1 C  2 range  3 SQL  4 bell channel  5 whether the kill switch holds it (1)  6… bits
-- returns {'no board'} | {'asked'}
--
-- Asking twice is asking once. New SQL replaces the old: who was asked the old and answers is taken at his word.
if redis.call('EXISTS', KEYS[1]) == 0 then return {'no board'} end
redis.call('HSET', KEYS[4], 'open', '1', 'sql', ARGV[3], 'live', ARGV[5], 'range:' .. ARGV[2], '1')
for i = 6, #ARGV do
  redis.call('SETBIT', KEYS[5], ARGV[i], 1)
  redis.call('SETBIT', KEYS[6], ARGV[i], 1)
end
local version = redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[3], ARGV[1] .. ':' .. ARGV[2], version)
redis.call('PUBLISH', ARGV[4], version)
return {'asked'}
