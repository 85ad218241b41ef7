#!lua
-- The whole content, of one moment; this process is attached to all that it refers to.
local m = call('HMGET', key, '!s', '!w')
if not m[1] then return 'REMOVED' end
local L = library()
if not L.alive(me) then return 'NOBODY' end
if m[2] and m[2] ~= me then
    if L.alive(m[2]) then return 'BUSY' end
    call('HDEL', key, '!w')
end
for _, id in ipairs(L.references(key)) do L.attach(id) end
return { m[1] + 0, call('HGETALL', key) }
