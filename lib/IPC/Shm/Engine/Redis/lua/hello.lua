#!lua
-- A connection says who it is (ARGV[4]). ARGV[5]: the connection of its parent, whose variables it uses as well.
-- KEYS[1]: the mark of the namespace.
local mark = 'IPC::Shm 1'
local is = call('GET', key)
if is and is ~= mark then return 'FOREIGN' end
if not is then
    for _, k in ipairs({ 'n', 'all', 'c' }) do
        if call('EXISTS', P .. k) == 1 then return 'FOREIGN' end
    end
    call('SET', key, mark)
end
call('HSET', P .. 'c', me, ARGV[4])
if ARGV[5] and ARGV[5] ~= '' then
    local L = library()
    for _, id in ipairs(call('SMEMBERS', P .. 'a:' .. ARGV[5])) do L.attach(id) end
end
return { 0, redis.REDIS_VERSION or '' }
