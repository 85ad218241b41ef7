-- Before the scripts that change arrays. ARGV[4] says what to do; element i is the field !f + i.
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
