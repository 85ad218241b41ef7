#!lua
-- The whole content anew: ARGV[4]: how many texts ARGV[7] has, a MessagePack array; those of a hash are
-- fields and values, those of an array values, nil where there is none. ARGV[5]: '' or the serial that it must
-- still have, ARGV[6]: 1 if there are references, and perhaps the ticket of a job that is done. ARGV[8]: '', or
-- when the elements vanish (V.stored has the words), such an array. ARGV[9]: instead of
-- ARGV[7] there is a key, which was restored from a dump of ARGV[4] elements (xs/whole.c), of plain values, and vanishes
-- by itself (a script would copy a long text twice); NODUMP and why: nothing has happened, it is to be sent as texts.
local m = call('HMGET', key, '!s', '!w', '!R', '!k', '!W', '!t', '!n', '!a', '!N', '!u', '!h', '!H', '!E')
if not m[1] then return 'REMOVED' end
local L = library()
local why = L.blocked(m)
if why then return why end
if ARGV[5] ~= '' and ARGV[5] ~= m[1] then return 'CHANGED' end
local n, dump = tonumber(ARGV[4]), ARGV[9]
local new = key .. ':d:' .. me
if dump and m[13] then
    call('UNLINK', new)
    return 'NODUMP'
end
local texts = dump and {} or cmsgpack.unpack(ARGV[7])
local step = m[6] == '2' and 1 or 2
local gone, come = m[4] and L.references(key) or {}, 0
local ticket = string.match(ARGV[6], ' (.+)')
if string.sub(ARGV[6], 1, 1) == '1' then
    for i = step, n, step do
        local id = L.target(texts[i])
        if id and call('EXISTS', P .. 'v:' .. id) == 0 then return 'GONE' end
    end
    for i = step, n, step do
        local id = L.target(texts[i])
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
local writer = call('HMGET', key, '!w', '!R')
local keep = { '!s', m[1] + 1, '!t', m[6] }
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
kept('!E', m[13])
if dump then
    -- Each of the two may be forbidden, or not understood: then all is as it was.
    local stays = redis.pcall('PERSIST', new)
    if type(stays) == 'table' then return 'NODUMP ' .. stays.err end
    if stays == 0 then return 'NODUMP RESTORE has made nothing' end
    local refused = redis.pcall('RENAME', key, key .. ':d').err
    if refused then
        call('UNLINK', new)
        return 'NODUMP ' .. refused
    end
    call('RENAME', new, key)
    keep[#keep + 1] = '!l'
    keep[#keep + 1] = n
    call('HSET', key, unpack(keep))
    call('UNLINK', key .. ':d')
    L.let_go(gone)
    if m[5] then L.notify() end
    return { m[1] + 1 }
end
call('UNLINK', key)
-- What becomes large is a table from the start (a text that is long makes it so): to fill
-- a small hash, which is a list for Redis, goes with the square of its size.
if n > 100 then call('HSET', key, '!', string.rep(' ', 100)) end
call('HSET', key, unpack(keep))
if n > 100 then call('HDEL', key, '!') end
if step == 1 then
    local some, k = {}, 0
    for i = 1, n do
        if texts[i] then
            some[k + 1], some[k + 2] = string.format('%d', i - 1), texts[i]
            k = k + 2
        end
        if k == 4000 or (i == n and k > 0) then
            call('HSET', key, unpack(some, 1, k))
            k = 0
        end
    end
else
    local elements = 0
    for i = 1, n, 4000 do elements = elements + call('HSET', key, unpack(texts, i, math.min(i + 3999, n))) end
    n = elements
end
call('HSET', key, '!l', n)
local hows = ARGV[8] and ARGV[8] ~= '' and cmsgpack.unpack(ARGV[8])
if m[13] or hows then
    call('DEL', key .. ':e', key .. ':l')
    local V = vanishing(L, m[13])
    for i = 1, #texts, 2 do V.stored(texts[i], hows and hows[(i + 1) / 2] or '', false, m[1] + 1) end
    V.purge(0)
end
L.let_go(gone)
if m[5] then L.notify() end
return { m[1] + 1 }
