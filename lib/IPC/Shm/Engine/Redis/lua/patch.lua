#!lua
-- Many elements of a hash in one change. ARGV[4]: how many to delete, which follow; then fields and values.
local m = call('HMGET', key, '!s', '!w', '!R', '!k', '!W')
if not m[1] then return 'REMOVED' end
local L = library()
local why = L.blocked(m)
if why then return why end
local n = tonumber(ARGV[4])
local old, new = {}, {}
local refers = m[4]
for i = 6 + n, #ARGV, 2 do
    new[#new + 1] = ARGV[i]
    if string.byte(ARGV[i]) == 114 then refers = true end
end
local gone
if refers then
    for i = 5, 4 + n do old[#old + 1] = call('HGET', key, ARGV[i]) end
    for i = 5 + n, #ARGV, 2 do old[#old + 1] = call('HGET', key, ARGV[i]) end
    gone = L.exchange(old, new)
    if not gone then return 'GONE' end
end
local more = 0
for i = 5, 4 + n do more = more - call('HDEL', key, ARGV[i]) end
for i = 5 + n, #ARGV, 1000 do more = more + call('HSET', key, unpack(ARGV, i, math.min(i + 999, #ARGV))) end
call('HINCRBY', key, '!l', more)
call('HSET', key, '!s', m[1] + 1)
if gone then L.let_go(gone) end
if m[5] then L.notify() end
return { m[1] + 1 }
