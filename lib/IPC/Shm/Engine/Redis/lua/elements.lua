#!lua flags=allow-oom
-- Elements that vanish. ARGV[4]: touch (a field, and how, as V.stored has it), ttl (a field), sweep,
-- expire (milliseconds, or nothing), limit (elements, or nothing), default.
local m = call('HMGET', key, '!s', '!w', '!R', '!E', '!W')
if not m[1] then return 'REMOVED' end
local L = library()
local op = ARGV[4]
if op == 'ttl' or op == 'default' then
    if m[2] and m[2] ~= me and L.alive(m[2]) then return 'BUSY' end
else
    local why = L.blocked(m)
    if why then return why end
end
local serial = m[1] + 1
local V = vanishing(L, m[4])
local result
if op == 'default' then
    return { tonumber(m[1]), V.default and string.format('%.0f', V.default) or '' }
elseif op == 'ttl' then
    V.fresh({ ARGV[5] })
    return { tonumber(m[1]), V.left(ARGV[5]) }
elseif op == 'sweep' then
    return { tonumber(m[1]), m[4] and V.purge(1000) or 0 }
elseif op == 'touch' then
    V.fresh({ ARGV[5] })
    if call('HEXISTS', key, ARGV[5]) == 0 then return { tonumber(m[1]), 0 } end
    V.stored(ARGV[5], ARGV[6], true, serial)
elseif op == 'expire' then
    V.set(tonumber(ARGV[5]), V.limit)
    V.purge(20)
elseif op == 'limit' then
    call('DEL', key .. ':l')
    V.set(V.default, tonumber(ARGV[5]))
    if V.limit then
        for _, field in ipairs(call('HKEYS', key)) do
            if string.byte(field) ~= 33 then call('ZADD', key .. ':l', 0, field) end
        end
    end
    V.room(serial)
end
call('HSET', key, '!s', serial)
if m[5] then L.notify() end
return { serial, 1 }
