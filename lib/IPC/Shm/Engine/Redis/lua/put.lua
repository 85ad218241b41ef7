#!lua
-- Store one element of a hash (ARGV[4], ARGV[5]), or a scalar. ARGV[6]: only if it is still that.
local m = call('HMGET', key, '!s', '!w', '!R', '!k', '!W')
if not m[1] then return 'REMOVED' end
local L
if m[2] or m[3] or m[5] or held ~= '' then
    L = library()
    local why = L.blocked(m)
    if why then return why end
end
if ARGV[6] and call('HGET', key, ARGV[4]) ~= (ARGV[6] ~= '' and ARGV[6]) then return { m[1], 0 } end
local gone
if m[4] or string.byte(ARGV[5]) == 114 then
    L = L or library()
    gone = L.exchange({ m[4] and call('HGET', key, ARGV[4]) }, { ARGV[5] })
    if not gone then return 'GONE' end
end
local serial = m[1] + 1
if call('HSET', key, ARGV[4], ARGV[5], '!s', serial) > 0 then call('HINCRBY', key, '!l', 1) end
if gone then L.let_go(gone) end
if m[5] then L.notify() end
return { serial, 1 }
