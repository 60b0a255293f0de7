-- close: hand out a campaign no more; its hosts may still answer for a while.
--
-- KEYS  1 epoch  2 version  3 pieces  4 campaign:C  5 flight:C  6 results  7 campaigns  8 unanswered:C,
--       then offer:C:R for each range
-- ARGV  1 campaign  2 the latest it may have ended, in ms, or '' for now  3 how long late answers are taken, in ms
--       4 bell channel  5 how long a host may still be busy with it, in ms  6… the ranges, in the order of KEYS
-- returns {'no board'} | {'closed', closed_at, last entry of the stream then}
--
-- Closing twice gives the times of the first. A campaign that never came on the board is remembered as closed, so
-- that a range that comes after the stop is not armed. Hosts do not hear of the end: who was handed the SQL runs it on,
-- and is busy for a while.
if redis.call('EXISTS', KEYS[1]) == 0 then return {'no board'} end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local open, ends, closed, entry = unpack(redis.call('HMGET', KEYS[4], 'open', 'ends_at', 'closed_at', 'closed_entry'))
if open == '0' then return {'closed', closed, entry} end
closed = now
if ARGV[2] ~= '' then closed = math.min(now, tonumber(ARGV[2])) end
if ends then closed = math.min(closed, tonumber(ends)) end
entry = '0-0'
if redis.call('EXISTS', KEYS[6]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[6])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then entry = info[i + 1] end
  end
end
redis.call('HSET', KEYS[4], 'open', '0', 'closed_at', closed, 'closed_entry', entry, 'forget_at', closed + tonumber(ARGV[3]))
redis.call('SADD', KEYS[7], ARGV[1])
if redis.call('EXISTS', KEYS[5]) == 1 then
  redis.call('RENAME', KEYS[5], KEYS[8])
  redis.call('PEXPIRE', KEYS[8], ARGV[5])
end
for i = 6, #ARGV do
  redis.call('HDEL', KEYS[3], ARGV[1] .. ':' .. ARGV[i])
  redis.call('UNLINK', KEYS[i + 3])
end
redis.call('PUBLISH', ARGV[4], redis.call('INCR', KEYS[2]))
return {'closed', tostring(closed), entry}
