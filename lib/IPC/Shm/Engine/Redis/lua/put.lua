#!lua
-- Store one element of a hash (ARGV[4], ARGV[5]), or a scalar. ARGV[6]: when it vanishes (V.stored has
-- the words). ARGV[7]: only if it is still that.
local m = call('HMGET', key, '!s', '!w', '!R', '!k', '!W', '!E')
if not m[1] then return 'REMOVED' end
local how = ARGV[6] or ''
local vanishes = m[6] or (how ~= '' and how ~= 'k')
local L, V
if m[2] or m[3] or m[5] or vanishes or held ~= '' then
    L = library()
    local why = L.blocked(m)
    if why then return why end
end
if vanishes then
    V = vanishing(L, m[6])
    V.fresh({ ARGV[4] })
end
if ARGV[7] and call('HGET', key, ARGV[4]) ~= (ARGV[7] ~= '' and ARGV[7]) then return { m[1], 0 } end
local gone
if m[4] or string.byte(ARGV[5]) == 114 then
    L = L or library()
    gone = L.exchange({ m[4] and call('HGET', key, ARGV[4]) }, { ARGV[5] })
    if not gone then return 'GONE' end
end
local serial = m[1] + 1
local new = call('HSET', key, ARGV[4], ARGV[5], '!s', serial) > 0
if new then call('HINCRBY', key, '!l', 1) end
if gone then L.let_go(gone) end
if V then
    V.stored(ARGV[4], how, not new, serial)
    V.room(serial)
end
if m[5] then L.notify() end
return { serial, 1 }
