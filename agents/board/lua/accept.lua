-- accept: take what one host answers, if it is owed.
--
-- KEYS  1 epoch  2 results, then for each answer  campaign:C  owed:C:R  offer:C:R  flight:C
-- ARGV  1 epoch of the gateway's copy  2 host  3 its bit, then for each answer
--       C  status  message  stats  rows (the agent's bytes)  marks ('t' = rows were cut, 'd' = denylisted)
-- returns {'no board'} | for each answer 'stored', 'not owed' (never asked, or answered before) or 'unknown'
--
-- The brake on hosts that died running this SQL is counted here, so that it is pulled at once. The entry comes before
-- the bit: a script that fails between the two (it can only fail at its first write) leaves
-- both undone.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'no board'} end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local host, bit, answer = ARGV[2], ARGV[3], {}
for i = 4, #ARGV, 6 do
  local k = 3 + (i - 4) / 6 * 4
  local open, forget, brake = unpack(redis.call('HMGET', KEYS[k], 'open', 'forget_at', 'brake'))
  if not open or (forget and now > tonumber(forget)) then
    answer[#answer + 1] = 'unknown'
  elseif redis.call('GETBIT', KEYS[k + 1], bit) == 0 then
    answer[#answer + 1] = 'not owed'
  else
    redis.call('XADD', KEYS[2], '*', 'k', 'a', 'c', ARGV[i], 'h', host, 's', ARGV[i + 1], 'm', ARGV[i + 2],
      't', ARGV[i + 3], 'r', ARGV[i + 4], 'x', ARGV[i + 5])
    redis.call('SETBIT', KEYS[k + 1], bit, 0)
    if brake and string.find(ARGV[i + 5], 'd', 1, true) then
      local denylisted = redis.call('HINCRBY', KEYS[k], 'denylisted', 1)
      if denylisted >= tonumber(brake) then redis.call('HSET', KEYS[k], 'braked', '1') end
    end
    if open == '1' then
      redis.call('SETBIT', KEYS[k + 2], bit, 0)
      redis.call('HDEL', KEYS[k + 3], host)
    end
    answer[#answer + 1] = 'stored'
  end
end
return answer
