#!lua flags=allow-oom
-- This process lets go of a variable. If only the dead seem to use it now, they are forgotten.
local L = library()
local id = string.sub(key, #P + 3)
L.detach(me, id)
local m = call('HMGET', key, '!s', '!a', '!n', '!N')
if m[1] and not m[4] and tonumber(m[3] or 0) <= 0 then L.reap() end
return { 0 }
