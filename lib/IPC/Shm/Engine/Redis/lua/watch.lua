#!lua
-- Has it changed since the serial ARGV[4]? If not: this process is told when it does.
local m = call('HMGET', key, '!s', '!w')
if not m[1] then return 'REMOVED' end
if m[1] ~= ARGV[4] then return { tonumber(m[1]), 1 } end
local L = library()
if not L.alive(me) then return 'NOBODY' end
call('SADD', key .. ':x', me)
call('HSET', key, '!W', 1)
return { tonumber(m[1]), 0 }
