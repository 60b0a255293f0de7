-- note_host: let gateways know a host that enrolls, before it is committed.
--
-- KEYS  1 epoch  2 installation  3 hosts  4 hosts:R  5 version
-- ARGV  1 name of the installation  2 its place  3 range  4 offset of the tag  5 tag  6 bell channel
-- returns {'no board'} | {'known'} | {'noted'}
--
-- A board of another database, or of another life of this one, knows hosts that have the same numbers: nobody enrolls
-- until it is written anew. One of a version that named no installation is taken as it is.
if redis.call('EXISTS', KEYS[1]) == 0 then return {'no board'} end
local name, place = unpack(redis.call('HMGET', KEYS[2], 'name', 'place'))
if name and (name ~= ARGV[1] or place ~= ARGV[2]) then return {'no board'} end
if redis.call('GETRANGE', KEYS[4], ARGV[4], ARGV[4] + #ARGV[5] - 1) == ARGV[5] then return {'known'} end
redis.call('SETRANGE', KEYS[4], ARGV[4], ARGV[5])
local version = redis.call('INCR', KEYS[5])
redis.call('HSET', KEYS[3], ARGV[3], version)
redis.call('PUBLISH', ARGV[6], version)
return {'noted'}
