-- Before each script. KEYS[1]: the variable, a Redis hash (see Layout in Engine/Redis.pm).
-- What is seldom needed is made when it is needed.
local key, P, me, held = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local call = redis.call

local function library()
    local L = {}

    -- A process is alive while its identity connection is subscribed to its channel.
    function L.alive(owner)
        return call('PUBSUB', 'NUMSUB', P .. 'p:' .. owner)[2] > 0
    end

    -- The living readers but me; the dead are crossed out.
    function L.readers(k)
        local others, mine = {}, false
        for _, owner in ipairs(call('SMEMBERS', k .. ':r')) do
            if owner == me then
                mine = true
            elseif L.alive(owner) then
                others[#others + 1] = owner
            else
                L.drop_reader(k, owner)
            end
        end
        return others, mine
    end

    function L.drop_reader(k, owner)
        if call('SREM', k .. ':r', owner) == 0 then return false end
        if call('HINCRBY', k, '!R', -1) <= 0 then call('HDEL', k, '!R') end
        return true
    end

    -- Why this change must not be made now, if so. m: serial, writer, readers.
    -- held: the lock that the process believes to have; it may have lost it.
    function L.blocked(m)
        if held ~= '' then
            if not L.alive(me) then return 'LOST' end
            if held == 'w' and m[2] ~= me then return 'LOST' end
            if held == 'r' and call('SISMEMBER', key .. ':r', me) == 0 then return 'LOST' end
        end
        if m[2] and m[2] ~= me then
            if L.alive(m[2]) then return 'BUSY' end
            call('HDEL', key, '!w')
        end
        if m[3] and #L.readers(key) > 0 then return 'BUSY' end
        return false
    end

    -- Wake those who wait for a change, once.
    function L.notify()
        for _, owner in ipairs(call('SMEMBERS', key .. ':x')) do call('PUBLISH', P .. 'p:' .. owner, 'x') end
        call('DEL', key .. ':x')
        call('HDEL', key, '!W')
    end

    function L.target(value)
        if value and string.byte(value) == 114 then return string.match(value, '^r([^:]+)') end
        return nil
    end

    -- A stored reference more. False: what it leads to is gone.
    function L.refer(id)
        local k = P .. 'v:' .. id
        if call('EXISTS', k) == 0 then return false end
        call('HINCRBY', k, '!n', 1)
        return true
    end

    -- All stored references of a variable.
    function L.references(k)
        local ids = {}
        for _, value in ipairs(call('HVALS', k)) do
            local id = L.target(value)
            if id then ids[#ids + 1] = id end
        end
        return ids
    end

    -- … with those of what is reserved.
    function L.all_references(k)
        local ids = L.references(k)
        for _, id in ipairs(L.references(k .. ':j')) do ids[#ids + 1] = id end
        return ids
    end

    function L.erase(k)
        call('SREM', P .. 'all', string.sub(k, #P + 3))
        call('DEL', k, k .. ':r', k .. ':q', k .. ':x', k .. ':j', k .. ':o', k .. ':e', k .. ':l')
    end

    -- A stored reference less to each of them; what nobody needs is freed, at most so
    -- many at once: the rest is work for later calls.
    function L.let_go(ids, most)
        local i, freed = 1, 0
        while ids[i] do
            if freed >= (most or 2000) then
                call('RPUSH', P .. 'g', ids[i])
            else
                local k = P .. 'v:' .. ids[i]
                local m = call('HMGET', k, '!t', '!n', '!a', '!N', '!k')
                if m[1] then
                    local left = call('HINCRBY', k, '!n', -1)
                    if left <= 0 and tonumber(m[3] or 0) <= 0 and not m[4] then
                        if m[5] then
                            for _, id in ipairs(L.all_references(k)) do ids[#ids + 1] = id end
                        end
                        L.erase(k)
                        freed = freed + 1
                    end
                end
            end
            i = i + 1
        end
        return freed
    end

    -- This process uses the variable: it lives while it does. Nothing happens the second time.
    function L.attach(id)
        if call('EXISTS', P .. 'v:' .. id) == 0 then return false end
        if call('SADD', P .. 'a:' .. me, id) == 1 then call('HINCRBY', P .. 'v:' .. id, '!a', 1) end
        return true
    end

    function L.detach(owner, id)
        if call('SREM', P .. 'a:' .. owner, id) == 0 then return 0 end
        local k = P .. 'v:' .. id
        if call('EXISTS', k) == 0 then return 0 end
        if call('HINCRBY', k, '!a', -1) > 0 then return 0 end
        local m = call('HMGET', k, '!n', '!N')
        if tonumber(m[1] or 0) > 0 or m[2] then return 0 end
        call('HSET', k, '!n', 1)
        return L.let_go({ id })
    end

    -- Forget the connections that are gone, and what they alone had used; at most so much at
    -- once. Returns how many attachments, and whether there are more.
    function L.reap()
        local freed = 0
        for _, owner in ipairs(call('HKEYS', P .. 'c')) do
            if not L.alive(owner) then
                local a = P .. 'a:' .. owner
                for _, id in ipairs(call('SRANDMEMBER', a, 1000)) do
                    L.detach(owner, id)
                    freed = freed + 1
                end
                if call('EXISTS', a) == 1 then return freed, 1 end
                call('HDEL', P .. 'c', owner)
                call('HDEL', P .. 'w', owner)
                if freed >= 1000 then return freed, 1 end
            end
        end
        return freed, 0
    end

    -- Values that come and go: those that come must be there, and count before the others go.
    function L.exchange(old, new)
        local gone, come = {}, 0
        for _, value in ipairs(new) do
            local id = L.target(value)
            if id then
                if call('EXISTS', P .. 'v:' .. id) == 0 then return false end
                come = come + 1
            end
        end
        if come > 0 then
            for _, value in ipairs(new) do
                local id = L.target(value)
                if id then L.refer(id) end
            end
        end
        for _, value in ipairs(old) do
            local id = L.target(value)
            if id then gone[#gone + 1] = id end
        end
        if come ~= #gone then
            if call('HINCRBY', key, '!k', come - #gone) <= 0 then call('HDEL', key, '!k') end
        end
        return gone
    end

    -- Of an array as a queue: the first job of those whose owners are dead; it is taken from them.
    function L.orphan()
        local jobs, owners = key .. ':j', key .. ':o'
        local first, least
        local all = call('HGETALL', owners)
        for i = 1, #all, 2 do
            local owner, order = string.match(all[i + 1], '^(%S+) (%S+)')
            if not L.alive(owner) and (not least or tonumber(order) < least) then first, least = all[i], tonumber(order) end
        end
        if not first then return nil end
        local value = call('HGET', jobs, first)
        call('HDEL', jobs, first)
        call('HDEL', owners, first)
        return value
    end

    -- Waiters: the first living one has the next turn. It is told, and for a moment
    -- nobody else takes what is free (a matter of fairness alone).
    function L.wake(k)
        if call('EXISTS', k) == 0 then return end
        local first
        for _, entry in ipairs(call('ZRANGE', k .. ':q', 0, -1)) do
            local kind, owner = string.sub(entry, 1, 1), string.sub(entry, 3)
            if not L.alive(owner) then
                call('ZREM', k .. ':q', entry)
            elseif not first then
                first = kind
                call('PUBLISH', P .. 'p:' .. owner, 'q')
                call('HSET', k, '!h', entry, '!H', L.now())
                if kind == 'w' then return end
            elseif kind == 'w' then
                return
            else
                call('PUBLISH', P .. 'p:' .. owner, 'q')
            end
        end
        if not first then call('HDEL', k, '!h', '!H') end
    end

    function L.now()
        local t = call('TIME')
        return t[1] * 1000 + math.floor(t[2] / 1000)
    end

    -- This process waits for nothing here any more.
    function L.leave(k)
        local was = call('ZREM', k .. ':q', 'w:' .. me, 'r:' .. me, 'f:' .. me) > 0
        call('HDEL', P .. 'w', me)
        local m = call('HMGET', k, '!u', '!h')
        if m[1] == me then
            call('HDEL', k, '!u')
            was = true
        end
        if m[2] and string.sub(m[2], 3) == me then
            call('HDEL', k, '!h', '!H')
            was = true
        end
        return was
    end

    return L
end
