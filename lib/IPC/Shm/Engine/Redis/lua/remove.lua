#!lua flags=allow-oom
-- Remove a variable: its name and its content. ARGV[4] = 1: whoever holds locks.
local m = call('HMGET', key, '!s', '!w', '!R', '!k', '!W', '!N')
if not m[1] then return 'REMOVED' end
local L = library()
local why = ARGV[4] ~= '1' and L.blocked(m)
if why then return why end
local id = string.sub(key, #P + 3)
if m[6] and call('HGET', P .. 'n', m[6]) == id then call('HDEL', P .. 'n', m[6]) end
local gone = m[4] and L.all_references(key) or {}
for _, entry in ipairs(call('ZRANGE', key .. ':q', 0, -1)) do call('PUBLISH', P .. 'p:' .. string.sub(entry, 3), 'q') end
L.notify()
L.erase(key)
L.let_go(gone)
return { 1 }
