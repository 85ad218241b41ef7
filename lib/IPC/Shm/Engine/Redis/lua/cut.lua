#!lua flags=allow-oom
-- Changes of an array that may make it shorter.
local function range(from, to)
    local values = {}
    for i = from, to do values[#values + 1] = call('HGET', key, field(i)) end
    return values
end

local function set(i, value)
    if value then call('HSET', key, field(i), value) else call('HDEL', key, field(i)) end
end

local result, past = false, 0
local orphan
if op == 'shift' and call('EXISTS', key .. ':o') == 1 then
    L = L or library()
    orphan = L.orphan()
end
if orphan then -- what the dead had reserved comes before the head, as with take
    local id = L.target(orphan)
    if id then
        L.attach(id)
        gone = L.exchange({ orphan }, {})
    end
    result, past = { orphan }, 1
elseif op == 'pop' or op == 'shift' then
    if n == 0 then return { tonumber(m[1]), false } end
    local i = op == 'pop' and n - 1 or 0
    result = call('HGET', key, field(i))
    exchange({ result }, {})
    call('HDEL', key, field(i))
    if op == 'shift' then f = f + 1 end
    n = n - 1
    result = { result }
elseif op == 'delete' then
    local i = tonumber(ARGV[5])
    if i < 0 then i = i + n end
    if i < 0 or i >= n then return { tonumber(m[1]), false } end
    result = call('HGET', key, field(i))
    exchange({ result }, {})
    call('HDEL', key, field(i))
    if i == n - 1 then
        while n > 0 and call('HEXISTS', key, field(n - 1)) == 0 do n = n - 1 end
    end
    result = { result }
elseif op == 'size' then
    local to = tonumber(ARGV[5])
    if to == n then return { tonumber(m[1]), n } end
    exchange(range(to, n - 1), {})
    for i = to, n - 1 do call('HDEL', key, field(i)) end
    n = to
    result = n
elseif op == 'splice' then
    -- offset, length, values: the shorter side moves
    local offset, length = tonumber(ARGV[5]), tonumber(ARGV[6])
    if offset < 0 then offset = offset + n end
    if offset < 0 then return { tonumber(m[1]), 'BEFORE' } end
    if offset > n then
        offset, past = n, 1
    end
    if ARGV[6] == '' then length = n - offset end
    if length < 0 then length = math.max(0, n - offset + length) end
    if offset + length > n then length = n - offset end
    local new = arguments(7)
    result = range(offset, offset + length - 1)
    if not exchange(result, new) then return 'GONE' end
    local more = #new - length
    if more ~= 0 then
        if offset < n - offset - length then
            local head = range(0, offset - 1)
            if more < 0 then for i = 0, -more - 1 do call('HDEL', key, field(i)) end end
            f = f - more
            for i = 1, offset do set(i - 1, head[i]) end
        else
            local tail = range(offset + length, n - 1)
            for i = n + more, n - 1 do call('HDEL', key, field(i)) end
            for i = 1, n - offset - length do set(offset + #new + i - 1, tail[i]) end
        end
    end
    for i, value in ipairs(new) do call('HSET', key, field(offset + i - 1), value) end
    n = n + more
end
call('HSET', key, '!s', serial, '!f', string.format('%.0f', f), '!l', n)
if gone then L.let_go(gone) end
if m[5] then L.notify() end
return { serial, result, past ~= 0 and past }
