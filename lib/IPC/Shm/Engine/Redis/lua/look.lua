#!lua flags=allow-oom
-- The fields from ARGV[4] on of a hash whose elements may vanish, as HMGET gives them.
local m = call('HMGET', key, '!s', '!E')
if m[2] then
    local L = library()
    local V = vanishing(L, m[2])
    if ARGV[4] == '!l' then
        local reply = call('HMGET', key, unpack(ARGV, 4))
        reply[1] = V.count()
        return reply
    end
    local fields = { unpack(ARGV, 4, #ARGV - 3) }
    V.fresh(fields)
    V.used(fields, m[1] + 0.5)
end
return call('HMGET', key, unpack(ARGV, 4))
