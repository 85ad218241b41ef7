#!lua
-- Add the integer ARGV[5] to the element ARGV[4]. What integers of 64 bits cannot do
-- is not done, and the value returned: the client works it out, and stores it if it still is the same.
-- ARGV[6]: ARGV[4] is an index of an array.
local field = ARGV[4]
local first = ARGV[6] and call('HGET', key, '!f')
if first then field = string.format('%.0f', first + field) end
local m = call('HMGET', key, '!s', '!w', '!R', field, '!W', '!E')
if not m[1] then return 'REMOVED' end
local L, V
if m[2] or m[3] or m[5] or m[6] or held ~= '' then
    L = library()
    local why = L.blocked(m)
    if why then return why end
end
if m[6] then
    V = vanishing(L, m[6])
    V.fresh({ field })
    m[4] = call('HGET', key, field)
end
if m[4] and m[4] ~= 'u' and not string.find(m[4], '^-?%d+$') then return { m[1], false, m[4] } end
local sum
if not m[4] or m[4] == 'u' then
    sum = ARGV[5]
    call('HSET', key, field, sum)
    if not m[4] and not first then call('HINCRBY', key, '!l', 1) end
else
    sum = redis.pcall('HINCRBY', key, field, ARGV[5])
    if type(sum) == 'table' then return { m[1], false, m[4] } end
    if sum > 4503599627370496 or sum < -4503599627370496 then sum = call('HGET', key, field) end
end
if first and tonumber(ARGV[4]) >= tonumber(call('HGET', key, '!l')) then call('HSET', key, '!l', ARGV[4] + 1) end
call('HSET', key, '!s', m[1] + 1)
if V then
    V.stored(field, 'k', m[4], m[1] + 1)
    V.room(m[1] + 1)
end
if m[5] then L.notify() end
return { m[1] + 1, sum }
