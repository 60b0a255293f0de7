-- note_hosts: let gateways know hosts of one range that enroll, before they are committed.
--
-- KEYS  1 epoch  2 installation  3 hosts  4 hosts:R  5 version
-- ARGV  1 name of the installation  2 its place  3 range  4 bell channel, then for each host  offset of its tag  tag
-- returns {'no board'} | {'known'} | {'noted'}
--
-- A board of another database, or of another life of this one, knows hosts that have the same numbers: nobody enrolls
-- until it is written anew. One of a version that named no installation is taken as it is.
if redis.call('EXISTS', KEYS[1]) == 0 then return {'no board'} end
local name, place = unpack(redis.call('HMGET', KEYS[2], 'name', 'place'))
if name and (name ~= ARGV[1] or place ~= ARGV[2]) then return {'no board'} end
local answer = 'known'
for i = 5, #ARGV, 2 do
  local offset, tag = ARGV[i], ARGV[i + 1]
  if redis.call('GETRANGE', KEYS[4], offset, offset + #tag - 1) ~= tag then
    redis.call('SETRANGE', KEYS[4], offset, tag)
    answer = 'noted'
  end
end
if answer == 'known' then return {answer} end
local version = redis.call('INCR', KEYS[5])
redis.call('HSET', KEYS[3], ARGV[3], version)
redis.call('PUBLISH', ARGV[4], version)
return {answer}
