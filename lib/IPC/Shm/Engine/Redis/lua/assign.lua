#!lua
-- The whole content anew: ARGV[4]: the number of elements, ARGV[5]: '' or the serial that it
-- must still have, ARGV[6]: 1 if there are references, and perhaps the ticket of a job that is done; fields and values follow.
local m = call('HMGET', key, '!s', '!w', '!R', '!k', '!W', '!t', '!n', '!a', '!N', '!u', '!h', '!H')
if not m[1] then return 'REMOVED' end
local L = library()
local why = L.blocked(m)
if why then return why end
if ARGV[5] ~= '' and ARGV[5] ~= m[1] then return 'CHANGED' end
local gone, come = m[4] and L.references(key) or {}, 0
local ticket = string.match(ARGV[6], ' (.+)')
if string.sub(ARGV[6], 1, 1) == '1' then
    for i = 8, #ARGV, 2 do
        local id = L.target(ARGV[i])
        if id and call('EXISTS', P .. 'v:' .. id) == 0 then return 'GONE' end
    end
    for i = 8, #ARGV, 2 do
        local id = L.target(ARGV[i])
        if id then
            L.refer(id)
            come = come + 1
        end
    end
    m[7] = call('HGET', key, '!n') -- it may refer to itself
end
if ticket then
    local id = L.target(call('HGET', key .. ':j', ticket))
    if id then gone[#gone + 1] = id end
    call('HDEL', key .. ':j', ticket)
    call('HDEL', key .. ':o', ticket)
end
local writer, readers = call('HMGET', key, '!w', '!R'), nil
local keep = { '!s', m[1] + 1, '!t', m[6], '!l', ARGV[4] }
local function kept(name, value)
    if value then
        keep[#keep + 1] = name
        keep[#keep + 1] = value
    end
end
if m[6] == '2' then kept('!f', '0') end
kept('!w', writer[1])
kept('!R', writer[2])
kept('!n', m[7])
kept('!a', m[8])
kept('!N', m[9])
kept('!u', m[10])
kept('!h', m[11])
kept('!H', m[12])
kept('!W', m[5])
if m[4] and m[6] == '2' then come = come + #L.references(key .. ':j') end
if come > 0 then kept('!k', come) end
call('UNLINK', key)
call('HSET', key, unpack(keep))
for i = 7, #ARGV, 1000 do call('HSET', key, unpack(ARGV, i, math.min(i + 999, #ARGV))) end
L.let_go(gone)
if m[5] then L.notify() end
return { m[1] + 1 }
