#!lua
-- Many elements of a hash in one change. ARGV[4]: how many to delete, which follow after ARGV[5]; then fields and
-- values. ARGV[5]: '', or when those vanish (V.stored has the words), a MessagePack array.
local m = call('HMGET', key, '!s', '!w', '!R', '!k', '!W', '!E')
if not m[1] then return 'REMOVED' end
local L = library()
local why = L.blocked(m)
if why then return why end
local n, hows = tonumber(ARGV[4]), ARGV[5] ~= '' and cmsgpack.unpack(ARGV[5])
local V = (m[6] or hows) and vanishing(L, m[6])
if V then
    for i = 6, 5 + n do V.fresh({ ARGV[i] }) end
    for i = 6 + n, #ARGV, 2 do V.fresh({ ARGV[i] }) end
end
local old, new = {}, {}
local refers = m[4]
for i = 7 + n, #ARGV, 2 do
    new[#new + 1] = ARGV[i]
    if string.byte(ARGV[i]) == 114 then refers = true end
end
local gone
if refers then
    for i = 6, 5 + n do old[#old + 1] = call('HGET', key, ARGV[i]) end
    for i = 6 + n, #ARGV, 2 do old[#old + 1] = call('HGET', key, ARGV[i]) end
    gone = L.exchange(old, new)
    if not gone then return 'GONE' end
end
local serial, more = m[1] + 1, 0
for i = 6, 5 + n do
    more = more - call('HDEL', key, ARGV[i])
    if V then call('ZREM', key .. ':e', ARGV[i]) end
    if V and V.limit then call('ZREM', key .. ':l', ARGV[i]) end
end
if V then
    for i = 6 + n, #ARGV, 2 do
        local is_new = call('HSET', key, ARGV[i], ARGV[i + 1])
        V.stored(ARGV[i], hows and hows[(i - n) / 2 - 2] or '', is_new == 0, serial)
        more = more + is_new
    end
else
    for i = 6 + n, #ARGV, 1000 do more = more + call('HSET', key, unpack(ARGV, i, math.min(i + 999, #ARGV))) end
end
call('HINCRBY', key, '!l', more)
call('HSET', key, '!s', serial)
if gone then L.let_go(gone) end
if V then V.room(serial) end
if m[5] then L.notify() end
return { serial }
