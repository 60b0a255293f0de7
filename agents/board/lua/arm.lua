-- arm: put the targets of one range on the board, once.
--
-- KEYS  1 epoch  2 version  3 pieces  4 campaign:C  5 owed:C:R  6 offer:C:R  7 campaigns
-- ARGV  1 campaign  2 range  3 bitmap of released hosts  4 SQL  5 timeout in ms  6 bell channel  7 how far it is
--       released  8 denylisted hosts that pull the brake, '' = any number  9 '1' = it has brakes the sweep watches
--       10 '1' = it goes alone
-- returns {'no board'} | {'closed'} | {'armed', started_at, ends_at}
--
-- The first range starts the clock. A range that is armed already stays as it is: hosts that answered since must not
-- be asked again because a message came twice.
if redis.call('EXISTS', KEYS[1]) == 0 then return {'no board'} end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local open, started, ends = unpack(redis.call('HMGET', KEYS[4], 'open', 'started_at', 'ends_at'))
if open == '0' then return {'closed'} end
if not open then
  started = now
  ends = now + tonumber(ARGV[5])
  redis.call('HSET', KEYS[4], 'open', '1', 'sql', ARGV[4], 'started_at', started, 'ends_at', ends)
  if ARGV[8] ~= '' then redis.call('HSET', KEYS[4], 'brake', ARGV[8]) end
  if ARGV[9] == '1' then redis.call('HSET', KEYS[4], 'watch', '1') end
  if ARGV[10] == '1' then redis.call('HSET', KEYS[4], 'alone', '1') end
  redis.call('SADD', KEYS[7], ARGV[1])
end
if redis.call('HSETNX', KEYS[4], 'range:' .. ARGV[2], '1') == 1 then
  redis.call('HSET', KEYS[4], 'released:' .. ARGV[2], ARGV[7])
  redis.call('SET', KEYS[5], ARGV[3])
  redis.call('SET', KEYS[6], ARGV[3])
  local version = redis.call('INCR', KEYS[2])
  redis.call('HSET', KEYS[3], ARGV[1] .. ':' .. ARGV[2], version)
  redis.call('PUBLISH', ARGV[6], version)
end
return {'armed', tostring(started), tostring(ends)}
