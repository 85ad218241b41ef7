#!lua
-- The whole content, of one moment, without what has vanished; this process is attached to all that it refers to.
local m = call('HMGET', key, '!s', '!w', '!E')
if not m[1] then return 'REMOVED' end
local L = library()
if not L.alive(me) then return 'NOBODY' end
if m[2] and m[2] ~= me then
    if L.alive(m[2]) then return 'BUSY' end
    call('HDEL', key, '!w')
end
local all = call('HGETALL', key)
if m[3] then
    local gone, kept = vanishing(L, m[3]).gone(), {}
    for i = 1, #all, 2 do
        if not gone[all[i]] then kept[#kept + 1], kept[#kept + 2] = all[i], all[i + 1] end
    end
    all = kept
end
for i = 2, #all, 2 do
    local id = L.target(all[i])
    if id then L.attach(id) end
end
return { m[1] + 0, all }
