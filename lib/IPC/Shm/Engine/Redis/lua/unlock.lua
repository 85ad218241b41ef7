#!lua flags=allow-oom
-- Release the locks ARGV[4] (some of w, r and u) of this process, and hand on. Returns 1 if it had
-- any of them, 0, or REMOVED.
local m = call('HMGET', key, '!s', '!w', '!R')
if not m[1] then return 'REMOVED' end
local had = 0
if string.find(ARGV[4], 'w') and m[2] == me then
    call('HDEL', key, '!w')
    had = 1
end
if string.find(ARGV[4], 'u') and call('HGET', key, '!u') == me then
    call('HDEL', key, '!u')
    had = 1
end
if string.find(ARGV[4], 'r') and m[3] and library().drop_reader(key, me) then had = 1 end
if call('EXISTS', key .. ':q') == 1 then library().wake(key) end
return had
