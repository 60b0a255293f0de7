-- pause: hand a campaign out no more for now, or go on; its hosts may answer meanwhile.
--
-- KEYS  1 epoch  2 version  3 pieces  4 campaign:C
-- ARGV  1 campaign  2 'pause' or 'resume'  3 bell channel  4… the ranges
-- returns {'no board'} | {'closed'} | {'paused', ms left} | {'open', ends_at}
--
-- While it lasts there is no end and no piece: idle hosts do not ask. Twice is once.
if redis.call('EXISTS', KEYS[1]) == 0 then return {'no board'} end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local open, ends, left = unpack(redis.call('HMGET', KEYS[4], 'open', 'ends_at', 'paused'))
if open ~= '1' then return {'closed'} end
if ARGV[2] == 'pause' then
  if left then return {'paused', left} end
  left = math.max(0, tonumber(ends) - now)
  redis.call('HSET', KEYS[4], 'paused', left)
  redis.call('HDEL', KEYS[4], 'ends_at')
  for i = 4, #ARGV do redis.call('HDEL', KEYS[3], ARGV[1] .. ':' .. ARGV[i]) end
  redis.call('PUBLISH', ARGV[3], redis.call('INCR', KEYS[2]))
  return {'paused', tostring(left)}
end
if not left then return {'open', ends} end
ends = now + tonumber(left)
redis.call('HSET', KEYS[4], 'ends_at', ends)
redis.call('HDEL', KEYS[4], 'paused')
local version = redis.call('INCR', KEYS[2])
for i = 4, #ARGV do redis.call('HSET', KEYS[3], ARGV[1] .. ':' .. ARGV[i], version) end
redis.call('PUBLISH', ARGV[3], version)
return {'open', tostring(ends)}
