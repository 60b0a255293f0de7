-- claim: hand one host what it is still owed an offer of.
--
-- KEYS  1 epoch  2 results  3 slow pollers  4 the sweep's heartbeat  5 kill switch, then for each campaign
--       campaign:C  offer:C:R  flight:C
-- ARGV  1 epoch of the gateway's copy  2 host  3 its bit  4 age of the read in ms  5 most queries to hand out
--       6 how long after its first further read a host is offered the work again, in ms  7 deliveries in all
--       8 how old the heartbeat may be, in ms  9… the campaigns, in the order of KEYS, housekeeping (negative) last
-- returns {'no board'} | a list of four items for each campaign: C, verdict, detail, SQL
--   never    nothing here for this host, ever: its bit can be cleared
--   nothing  the answer may be in the agent's memory and come right after this read: answer {} at once
--   later    hold the read; detail = ms until it is worth asking again, '' = when woken
--   work     detail = seconds for which the host shall come quickly, '' = as it does
--
-- A campaign with brakes is not handed out when the sweep that watches them is silent; none is when the kill switch is
-- on or a brake was pulled. A read means that nothing is running on the host any more. In flight: "deliveries delivered_at began further_at".
-- A read gets live work or housekeeping, never both: all answers of a batch come together at its end. Housekeeping is
-- offered once, without a record; what gets lost is asked again within the hour.
local function verdicts()
  if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'no board'} end
  local t = redis.call('TIME')
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  local host, bit, began = ARGV[2], ARGV[3], now - tonumber(ARGV[4])
  local room, pause, most = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
  local answer, live = {}, false
  local off = redis.call('EXISTS', KEYS[5]) == 1
  local watched = now - tonumber(redis.call('GET', KEYS[4]) or 0) <= tonumber(ARGV[8])

  local function say(campaign, verdict, detail, sql)
    local n = #answer
    answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4] = campaign, verdict, tostring(detail), sql
  end

  local function deliver(campaign, flight, deliveries, delivered_at, sql)
    redis.call('HSET', flight, host, deliveries .. ' ' .. delivered_at .. ' ' .. began .. ' 0')
    room = room - 1
    say(campaign, 'work', redis.call('SISMEMBER', KEYS[3], host) == 1 and 60 or '', sql)
  end

  for i = 9, #ARGV do
    local campaign, k = ARGV[i], 6 + (i - 9) * 3
    local offer, flight = KEYS[k + 1], KEYS[k + 2]
    local open, paused, ends, sql, watch, braked =
      unpack(redis.call('HMGET', KEYS[k], 'open', 'paused', 'ends_at', 'sql', 'watch', 'braked'))
    if open ~= '1' or (ends and now >= tonumber(ends)) or redis.call('GETBIT', offer, bit) == 0 then
      say(campaign, 'never', '', '')
    elseif tonumber(campaign) < 0 then
      if live then
        say(campaign, 'later', '', '')
      else
        redis.call('SETBIT', offer, bit, 0)
        say(campaign, 'work', '', sql)
      end
    elseif off or paused or braked or (watch and not watched) or room == 0 then
      say(campaign, 'later', '', '')
    else
      live = true
      local known = redis.call('HGET', flight, host)
      if not known then
        redis.call('XADD', KEYS[2], '*', 'k', 'd', 'c', campaign, 'h', host, 'n', 1)
        deliver(campaign, flight, 1, now, sql)
      else
        local n, at, _, further = string.match(known, '(%d+) (%d+) (%d+) (%d+)')
        n, at, further = tonumber(n), tonumber(at), tonumber(further)
        if began < at then
          -- the sibling of a read that was sent twice: its twin is dead, so this one takes the delivery over
          deliver(campaign, flight, n, at, sql)
        elseif further == 0 then
          redis.call('HSET', flight, host, n .. ' ' .. at .. ' ' .. began .. ' ' .. now)
          say(campaign, 'nothing', '', '')
        elseif now < further + pause then
          say(campaign, 'later', further + pause - now, '')
        elseif n < most then
          redis.call('XADD', KEYS[2], '*', 'k', 'd', 'c', campaign, 'h', host, 'n', n + 1)
          deliver(campaign, flight, n + 1, now, sql)
        else
          redis.call('XADD', KEYS[2], '*', 'k', 'n', 'c', campaign, 'h', host)
          redis.call('SETBIT', offer, bit, 0)
          redis.call('HDEL', flight, host)
          say(campaign, 'never', '', '')
        end
      end
    end
  end
  return answer
end
return verdicts()
