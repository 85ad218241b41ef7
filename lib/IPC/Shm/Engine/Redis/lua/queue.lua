#!lua flags=allow-oom
-- An array as a queue. ARGV[4]: take, reserve (ARGV[5]: the ticket), done or release (likewise; with done, what
-- is to be pushed may follow). What is
-- reserved is in KEYS[1]:j, by ticket; by whom, in which order and since when is in KEYS[1]:o.
local m = call('HMGET', key, '!s', '!w', '!R', '!k', '!W', '!f', '!l')
if not m[1] then return 'REMOVED' end
local L = library()
local why = L.blocked(m)
if why then return why end
local op, ticket = ARGV[4], ARGV[5]
local f, n = tonumber(m[6]), tonumber(m[7])
local serial = m[1] + 1
local jobs, owners = key .. ':j', key .. ':o'
local result, gone

local function field(i) return string.format('%.0f', f + i) end

if op == 'take' or op == 'reserve' then
    local value = L.orphan()
    if not value then
        if n == 0 then return { tonumber(m[1]), false } end
        value = call('HGET', key, field(0)) or 'u'
        call('HDEL', key, field(0))
        f = f + 1
        n = n - 1
    end
    local id = L.target(value)
    if id then L.attach(id) end
    if op == 'reserve' then
        local t = call('TIME')
        call('HSET', jobs, ticket, value)
        call('HSET', owners, ticket, me .. ' ' .. serial .. ' ' .. t[1])
    elseif id then
        gone = L.exchange({ value }, {})
    end
    result = value
else
    local owner = call('HGET', owners, ticket)
    if not owner then return { tonumber(m[1]), false } end
    local value = call('HGET', jobs, ticket)
    call('HDEL', jobs, ticket)
    call('HDEL', owners, ticket)
    if op == 'release' then
        f = f - 1
        n = n + 1
        call('HSET', key, field(0), value)
    else
        local new = { unpack(ARGV, 6) }
        gone = L.exchange({ value }, new)
        if not gone then return 'GONE' end
        for i, text in ipairs(new) do call('HSET', key, field(n + i - 1), text) end
        n = n + #new
    end
    result = '1'
end
call('HSET', key, '!s', serial, '!f', string.format('%.0f', f), '!l', n)
if gone then L.let_go(gone) end
if m[5] then L.notify() end
return { serial, result }
