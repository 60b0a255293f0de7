-- give_back: undo deliveries of one read whose client was gone before the answer was handed to its socket.
--
-- KEYS  1 epoch  2 results, then for each delivery  flight:C
-- ARGV  1 epoch of the gateway's copy  2 host, then for each delivery  C  the trace that claim gave: "before|after"
-- returns {'no board'} | for each delivery 'given back', or 'not held': answered, taken over, delivered again or closed
--
-- The record in flight becomes what it was, whatever further read came meanwhile. A delivery that was counted is taken
-- back in the stream as well; one that was taken over from a twin was not counted.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'no board'} end
local host, answer = ARGV[2], {}
for i = 3, #ARGV, 2 do
  local flight = KEYS[3 + (i - 3) / 2]
  local before, after = string.match(ARGV[i + 1], '^(.*)|(.*)$')
  local known = redis.call('HGET', flight, host)
  if known and string.match(known, '^%d+ %d+ %d+') == after then
    local n, at = string.match(before, '^(%d+) (%d+)')
    if (n or '0') ~= string.match(after, '^%d+') then
      redis.call('XADD', KEYS[2], '*', 'k', 'g', 'c', ARGV[i], 'h', host, 'n', n or 0, 'p', at or '')
    end
    if before == '' then
      redis.call('HDEL', flight, host)
    else
      redis.call('HSET', flight, host, before)
    end
    answer[#answer + 1] = 'given back'
  else
    answer[#answer + 1] = 'not held'
  end
end
return answer
