#!lua flags=allow-oom
-- This process no longer waits here (and holds nothing here that it does not know of: ARGV[4] is
-- what it keeps: '', w, r).
if call('EXISTS', key) == 0 then return 'REMOVED' end
local L = library()
local was = L.leave(key)
if ARGV[4] ~= 'w' and call('HGET', key, '!w') == me then
    call('HDEL', key, '!w')
    was = true
end
if ARGV[4] == '' and L.drop_reader(key, me) then was = true end
if was then L.wake(key) end
return { 1 }
