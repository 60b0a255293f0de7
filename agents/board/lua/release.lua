-- release: let more hosts of one range be handed the SQL, once.
--
-- KEYS  1 epoch  2 version  3 pieces  4 campaign:C  5 owed:C:R  6 offer:C:R
-- ARGV  1 campaign  2 range  3 how far it is released with these, '' = these joined late  4 bell channel  5… bits
-- returns {'no board'} | {'released'} | {'before'}
--
-- What is released already stays as it is: a host that answered since must not be asked again because the release came
-- twice.
if redis.call('EXISTS', KEYS[1]) == 0 then return {'no board'} end
local open, far, paused = unpack(redis.call('HMGET', KEYS[4], 'open', 'released:' .. ARGV[2], 'paused'))
if open ~= '1' then return {'before'} end
if ARGV[3] ~= '' then
  if far and tonumber(far) >= tonumber(ARGV[3]) then return {'before'} end
  redis.call('HSET', KEYS[4], 'released:' .. ARGV[2], ARGV[3])
end
redis.call('HSET', KEYS[4], 'range:' .. ARGV[2], '1')
for i = 5, #ARGV do
  redis.call('SETBIT', KEYS[5], ARGV[i], 1)
  redis.call('SETBIT', KEYS[6], ARGV[i], 1)
end
if not paused then
  local version = redis.call('INCR', KEYS[2])
  redis.call('HSET', KEYS[3], ARGV[1] .. ':' .. ARGV[2], version)
  redis.call('PUBLISH', ARGV[4], version)
end
return {'released'}
