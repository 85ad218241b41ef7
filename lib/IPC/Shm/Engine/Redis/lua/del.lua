#!lua flags=allow-oom
-- Delete elements of a hash (from ARGV[4] on); returns what they were. References among
-- them are attached to the process that gets them before they are let go of.
local m = call('HMGET', key, '!s', '!w', '!R', '!k', '!W', '!E')
if not m[1] then return 'REMOVED' end
local L = library()
local why = L.blocked(m)
if why then return why end
local fields = { unpack(ARGV, 4) }
local V = m[6] and vanishing(L, m[6])
if V then V.fresh(fields) end
local old = call('HMGET', key, unpack(fields))
local n = call('HDEL', key, unpack(fields))
if n == 0 then return { tonumber(m[1]), old } end
if m[4] then
    for _, value in ipairs(old) do
        local id = L.target(value)
        if id then L.attach(id) end
    end
    L.let_go(L.exchange(old, {}))
end
call('HINCRBY', key, '!l', -n)
if V then
    call('ZREM', key .. ':e', unpack(fields))
    if V.limit then call('ZREM', key .. ':l', unpack(fields)) end
    V.purge(20)
end
call('HSET', key, '!s', m[1] + 1)
if m[5] then L.notify() end
return { m[1] + 1, old }
