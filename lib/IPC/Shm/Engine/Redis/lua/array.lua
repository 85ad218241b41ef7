#!lua
-- Changes of an array: ARGV[4] says which. Element i is the field !f + i.
local m = call('HMGET', key, '!s', '!w', '!R', '!k', '!W', '!f', '!l')
if not m[1] then return 'REMOVED' end
local L
if m[2] or m[3] or m[5] or held ~= '' then
    L = library()
    local why = L.blocked(m)
    if why then return why end
end
local op, f, n = ARGV[4], tonumber(m[6]), tonumber(m[7])
local serial = m[1] + 1
local gone

-- The arguments from there on; there may be more than unpack() can take.
local function arguments(from)
    local values = {}
    for i = from, #ARGV do values[#values + 1] = ARGV[i] end
    return values
end

local function field(i) return string.format('%.0f', f + i) end

-- What comes and goes, with the references in it.
local function exchange(old, new)
    local refers = m[4]
    if not refers then
        for _, value in ipairs(new) do
            if string.byte(value) == 114 then refers = true end
        end
    end
    if not refers then return true end
    L = L or library()
    for _, value in ipairs(old) do
        local id = L.target(value)
        if id then L.attach(id) end
    end
    gone = L.exchange(old, new)
    return gone
end

local function range(from, to)
    local values = {}
    for i = from, to do values[#values + 1] = call('HGET', key, field(i)) end
    return values
end

local function set(i, value)
    if value then call('HSET', key, field(i), value) else call('HDEL', key, field(i)) end
end

local result = false
if op == 'push' or op == 'unshift' then
    local values = arguments(5)
    if not exchange({}, values) then return 'GONE' end
    if op == 'unshift' then f = f - #values end
    local start = op == 'push' and n or 0
    for i, value in ipairs(values) do call('HSET', key, field(start + i - 1), value) end
    n = n + #values
    result = n
elseif op == 'put' then
    local i = tonumber(ARGV[5])
    if i < 0 then i = i + n end
    if i < 0 then return { m[1], false } end
    if not exchange({ m[4] and call('HGET', key, field(i)) }, { ARGV[6] }) then return 'GONE' end
    call('HSET', key, field(i), ARGV[6])
    if i >= n then n = i + 1 end
    result = 1
elseif op == 'extend' then
    n = math.max(n, tonumber(ARGV[5]))
    result = n
end
call('HSET', key, '!s', serial, '!f', string.format('%.0f', f), '!l', n)
if gone then L.let_go(gone) end
if m[5] then L.notify() end
return { serial, result }
