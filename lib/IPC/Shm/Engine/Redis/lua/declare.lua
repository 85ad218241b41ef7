#!lua
-- The variable of a name (ARGV[4]; '' for an anonymous one) and type (ARGV[5]); KEYS[1] is where a new one
-- would be, if ARGV[6] is 1.
local L = library()
if not L.alive(me) then return 'NOBODY' end
local name = ARGV[4]
local id = string.sub(key, #P + 3)
if name ~= '' then
    local known = call('HGET', P .. 'n', name)
    if known and L.attach(known) then
        local m = call('HMGET', P .. 'v:' .. known, '!s', '!t')
        return { tonumber(m[1]), known, m[2] }
    end
end
if ARGV[6] ~= '1' then return { 0, false } end
call('HSET', key, '!s', 0, '!t', ARGV[5], '!l', 0)
if ARGV[5] == '2' then call('HSET', key, '!f', 0) end
if name ~= '' then
    call('HSET', key, '!N', name)
    call('HSET', P .. 'n', name, id)
end
call('SADD', P .. 'all', id)
L.attach(id)
return { 0, id, ARGV[5] }
