-- mark_reads: note which hosts asked, with which of their keys, and that this gateway is alive and has told all it knows.
--
-- KEYS  1 reads  2 gateways  3 keys in use  4 doubts  5 writes  6 addresses
-- ARGV  1 gateway  2 longest pause within a streak, in ms  3 how long after the first use of a newer key an older one
--       means a second machine, in ms  4 '1' = with these it has told all it knows  5… host, epoch of its key, ms since
--       it was used, 'r' = for a distributed read, 'w' = for a distributed write, address it was used from
-- returns now in ms
--
-- A read's field is "last before streak": the last time, the one before it, and since when the host has been asking
-- without a long pause. From these three one can tell, long after, whether a host asked between two moments.
-- A write is kept apart: it says that the host is there, but not that it could have been handed work.
-- An address's field is "last address": where a key of the host was used last.
-- A key's field is "epoch first": the newest key that was used, and since when.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function mark_read(host, asked)
  local before, streak = 0, asked
  local known = redis.call('HGET', KEYS[1], host)
  if known then
    local last, _, since = string.match(known, '(%d+) (%d+) (%d+)')
    before = tonumber(last)
    if asked - before <= tonumber(ARGV[2]) then streak = tonumber(since) end
  end
  if asked > before then
    redis.call('HSET', KEYS[1], host, string.format('%.0f %.0f %.0f', asked, before, streak))
  end
end
local function mark_write(host, asked)
  if asked > tonumber(redis.call('HGET', KEYS[5], host) or 0) then
    redis.call('HSET', KEYS[5], host, string.format('%.0f', asked))
  end
end
local function mark_address(host, asked, address)
  local before = string.match(redis.call('HGET', KEYS[6], host) or '0 ', '^(%d+) ')
  if address ~= '' and asked >= tonumber(before) then
    redis.call('HSET', KEYS[6], host, string.format('%.0f ', asked) .. address)
  end
end
for i = 5, #ARGV, 5 do
  local host, epoch, asked = ARGV[i], tonumber(ARGV[i + 1]), now - tonumber(ARGV[i + 2])
  if ARGV[i + 3] == 'r' then mark_read(host, asked) end
  if ARGV[i + 3] == 'w' then mark_write(host, asked) end
  mark_address(host, asked, ARGV[i + 4])
  local newest, first = string.match(redis.call('HGET', KEYS[3], host) or '0 0', '(%d+) (%d+)')
  if epoch > tonumber(newest) then
    redis.call('HSET', KEYS[3], host, string.format('%.0f %.0f', epoch, asked))
  elseif epoch < tonumber(newest) and asked > tonumber(first) + tonumber(ARGV[3]) then
    redis.call('HSET', KEYS[4], host, 'an older key of it was used after a newer one')
  end
end
if ARGV[4] == '1' then redis.call('HSET', KEYS[2], ARGV[1], now) end
return string.format('%.0f', now)
