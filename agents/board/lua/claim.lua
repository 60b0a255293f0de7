-- claim: hand one host what it is still owed an offer of.
--
-- KEYS  1 epoch  2 results  3 slow pollers  4 the sweep's heartbeat  5 kill switch, then for each campaign
--       campaign:C  offer:C:R  flight:C
-- ARGV  1 epoch of the gateway's copy  2 host  3 its bit  4 age of the read in ms  5 most queries to hand out
--       6 how long after its first further read a host is offered the work again, in ms  7 deliveries in all
--       8 how old the heartbeat may be, in ms  9… the campaigns, in the order of KEYS, housekeeping (negative) last
-- returns {'no board'} | a list of five items for each campaign: C, verdict, detail, SQL, trace
--   never    nothing here for this host, ever: its bit can be cleared
--   nothing  the answer may be in the agent's memory and come right after this read: answer {} at once
--   later    hold the read; detail = ms until it is worth asking again, '' = when woken
--   work     detail = seconds for which the host shall come quickly, '' = as it does; trace = what give_back needs
--
-- A campaign with brakes is not handed out when the sweep that watches them is silent; none is when the kill switch is
-- on or a brake was pulled. A read means that nothing is running on the host any more. In flight:
-- "deliveries delivered_at holder further_at", holder = a number of the read that holds the delivery and of no other,
-- further_at = of the first read that began after it.
-- The switch holds the SQL of labels too, which people wrote; other housekeeping goes on.
-- SQL that was slow or denylisted before goes alone: nothing else shall wait for it.
-- A read gets live work or housekeeping, never both: all answers of a batch come together at its end. Housekeeping is
-- offered once, without a record, and no more of it at a time either; what gets lost is asked again within the hour.
local function verdicts()
  if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'no board'} end
  local t = redis.call('TIME')
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  local host, bit, began = ARGV[2], ARGV[3], now - tonumber(ARGV[4])
  local room, pause, most = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
  local answer, live, full = {}, false, room
  local off = redis.call('EXISTS', KEYS[5]) == 1
  local watched = now - tonumber(redis.call('GET', KEYS[4]) or 0) <= tonumber(ARGV[8])

  local function say(campaign, verdict, detail, sql, trace)
    for _, item in ipairs({campaign, verdict, tostring(detail), sql, trace or ''}) do answer[#answer + 1] = item end
  end

  local function deliver(campaign, key, flight, known, deliveries, delivered_at, sql)
    local record = deliveries .. ' ' .. delivered_at .. ' ' .. redis.call('HINCRBY', key, 'handed', 1)
    redis.call('HSET', flight, host, record .. ' 0')
    local hurry = redis.call('SISMEMBER', KEYS[3], host) == 1 and 60 or ''
    say(campaign, 'work', hurry, sql, (known or '') .. '|' .. record)
  end

  for i = 9, #ARGV do
    local campaign, k = ARGV[i], 6 + (i - 9) * 3
    local offer, flight = KEYS[k + 1], KEYS[k + 2]
    local open, paused, ends, sql, watch, braked, alone, switched =
      unpack(redis.call('HMGET', KEYS[k], 'open', 'paused', 'ends_at', 'sql', 'watch', 'braked', 'alone', 'live'))
    if open ~= '1' or (ends and now >= tonumber(ends)) or redis.call('GETBIT', offer, bit) == 0 then
      say(campaign, 'never', '', '')
    elseif tonumber(campaign) < 0 then
      if live or room <= 0 or (off and switched == '1') then
        say(campaign, 'later', '', '')
      else
        room = room - 1
        redis.call('SETBIT', offer, bit, 0)
        say(campaign, 'work', '', sql)
      end
    elseif off or paused or braked or (watch and not watched) then
      say(campaign, 'later', '', '')
    else
      live = true
      local known = redis.call('HGET', flight, host)
      local n, at, holder, further = string.match(known or '0 0 0 0', '(%d+) (%d+) (%d+) (%d+)')
      n, at, further = tonumber(n), tonumber(at), tonumber(further)
      local fits = room > 0 and (alone ~= '1' or room == full)
      if n > 0 and further == 0 and began >= at then
        redis.call('HSET', flight, host, n .. ' ' .. at .. ' ' .. holder .. ' ' .. now)
        say(campaign, 'nothing', '', '')
      elseif began < further then
        -- of two twins of the first further read, or a twin of the delivery's that a later read proves dead
        say(campaign, 'nothing', '', '')
      elseif n > 0 and further > 0 and now < further + pause then
        say(campaign, 'later', further + pause - now, '')
      elseif n >= most and began >= at then
        redis.call('XADD', KEYS[2], '*', 'k', 'n', 'c', campaign, 'h', host)
        redis.call('SETBIT', offer, bit, 0)
        redis.call('HDEL', flight, host)
        say(campaign, 'never', '', '')
      elseif not fits then
        say(campaign, 'later', '', '')
      else
        room = alone == '1' and 0 or room - 1
        if began < at then
          -- the sibling of a read that was sent twice: its twin is dead, so this one takes the delivery over
          deliver(campaign, KEYS[k], flight, known, n, at, sql)
        else
          redis.call('XADD', KEYS[2], '*', 'k', 'd', 'c', campaign, 'h', host, 'n', n + 1)
          deliver(campaign, KEYS[k], flight, known, n + 1, now, sql)
        end
      end
    end
  end
  return answer
end
return verdicts()
