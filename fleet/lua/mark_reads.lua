-- mark_reads: note which hosts asked, and that this gateway is alive and has told all it knows.
--
-- KEYS  1 reads  2 gateways
-- ARGV  1 gateway  2 longest pause within a streak, in ms  3… host, ms since it asked
-- returns now in ms
--
-- A field is "last before streak": the last time, the one before it, and since when the host has been asking without
-- a long pause. From these three one can tell, long after, whether a host asked between two moments.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
for i = 3, #ARGV, 2 do
  local asked = now - tonumber(ARGV[i + 1])
  local before, streak = 0, asked
  local known = redis.call('HGET', KEYS[1], ARGV[i])
  if known then
    local last, _, since = string.match(known, '(%d+) (%d+) (%d+)')
    before = tonumber(last)
    if asked - before <= tonumber(ARGV[2]) then streak = tonumber(since) end
  end
  if asked > before then
    redis.call('HSET', KEYS[1], ARGV[i], string.format('%.0f %.0f %.0f', asked, before, streak))
  end
end
redis.call('HSET', KEYS[2], ARGV[1], now)
return string.format('%.0f', now)
