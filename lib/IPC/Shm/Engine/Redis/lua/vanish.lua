-- Before the scripts of elements. `!E` is there if elements of the hash may vanish: the default and
-- the limit, `-` for none. KEYS[1]:e has the time of the server at which an element vanishes, in
-- milliseconds; KEYS[1]:l, where there is a limit, the serial at which it was used last.
local function vanishing(L, flag)
    local V = {}
    local default, limit = string.match(flag or '- -', '^(%S+) (%S+)$')
    V.default, V.limit = tonumber(default), tonumber(limit)
    local t = call('TIME')
    local now = t[1] * 1000 + math.floor(t[2] / 1000)

    function V.set(default, limit)
        V.default, V.limit = default, limit
        call('HSET', key, '!E', (default and string.format('%.0f', default) or '-') .. ' ' .. (limit or '-'))
    end

    function V.drop(fields)
        if #fields == 0 then return end
        if call('HGET', key, '!k') then L.let_go(L.exchange(call('HMGET', key, unpack(fields)), {})) end
        call('HINCRBY', key, '!l', -call('HDEL', key, unpack(fields)))
        call('ZREM', key .. ':e', unpack(fields))
        if V.limit then call('ZREM', key .. ':l', unpack(fields)) end
    end

    -- Those of the fields that have vanished go now.
    function V.fresh(fields)
        local old = {}
        for i, time in ipairs(call('ZMSCORE', key .. ':e', unpack(fields))) do
            if time and tonumber(time) <= now then old[#old + 1] = fields[i] end
        end
        V.drop(old)
    end

    -- At most so many of all; returns how many.
    function V.purge(most)
        local old = call('ZRANGE', key .. ':e', '-inf', now, 'BYSCORE', 'LIMIT', 0, most)
        V.drop(old)
        if not V.default and not V.limit and call('EXISTS', key .. ':e') == 0 then call('HDEL', key, '!E') end
        return #old
    end

    -- What has vanished, and is still there.
    function V.gone()
        local gone = {}
        for _, field in ipairs(call('ZRANGE', key .. ':e', '-inf', now, 'BYSCORE')) do gone[field] = true end
        return gone
    end

    function V.count() return call('HGET', key, '!l') - call('ZCOUNT', key .. ':e', '-inf', now) end

    -- A field was stored at this serial. How: milliseconds, 'n' (never), '' (the default), or 'k': keep what it had.
    function V.stored(field, how, existed, serial)
        if V.limit then call('ZADD', key .. ':l', serial, field) end
        if how == 'k' and existed then return end
        local ms = tonumber(how)
        if how == '' or how == 'k' then ms = V.default end
        if ms then
            if not flag then V.set(V.default, V.limit) end
            flag = true
            call('ZADD', key .. ':e', string.format('%.0f', now + ms), field)
        else
            call('ZREM', key .. ':e', field)
        end
    end

    function V.used(fields, serial)
        if not V.limit then return end
        for _, field in ipairs(fields) do call('ZADD', key .. ':l', 'XX', serial, field) end
    end

    -- What was used longest ago makes room, though not what this very change stores.
    function V.room(serial)
        V.purge(20)
        local over = V.limit and call('HGET', key, '!l') - V.limit or 0
        while over > 0 do
            local old = call('ZRANGE', key .. ':l', '-inf', '(' .. serial, 'BYSCORE', 'LIMIT', 0, math.min(over, 1000))
            if #old == 0 then return end
            V.drop(old)
            over = over - #old
        end
    end

    function V.left(field)
        if call('HEXISTS', key, field) == 0 then return '-1' end
        local time = call('ZSCORE', key .. ':e', field)
        return time and string.format('%.0f', time - now) or ''
    end

    return V
end
