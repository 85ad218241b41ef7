#!lua flags=allow-oom
-- A process ends: it lets go of all that it uses and holds no locks. ARGV[4...]: what it has locked.
local L = library()
for _, id in ipairs(call('SMEMBERS', P .. 'a:' .. me)) do L.detach(me, id) end
call('HDEL', P .. 'c', me)
call('HDEL', P .. 'w', me)
for i = 4, #ARGV do
    local k = ARGV[i]
    if call('HGET', k, '!w') == me then call('HDEL', k, '!w') end
    L.drop_reader(k, me)
    L.wake(k)
end
return { 0 }
