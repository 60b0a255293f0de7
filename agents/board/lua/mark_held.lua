-- mark_held: note how many reads this gateway holds, and add up those of all.
--
-- KEYS  1 held  2 gateways
-- ARGV  1 gateway  2 reads it holds  3 reads it can hold  4 how long a gateway may be silent and still count, in ms
-- returns {reads held, reads that can be held}
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
local told, held, most = redis.call('HGETALL', KEYS[2]), 0, 0
for i = 1, #told, 2 do
  local its = redis.call('HGET', KEYS[1], told[i])
  if its and tonumber(told[i + 1]) > now - tonumber(ARGV[4]) then
    local holds, can = string.match(its, '(%d+) (%d+)')
    held, most = held + tonumber(holds), most + tonumber(can)
  end
end
return {held, most}
