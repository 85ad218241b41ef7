#!lua flags=allow-oom
-- Take a lock (ARGV[4] = 'lock'), or see whether an operation could go ahead (ARGV[4] = 'turn'). 'join': as a
-- write lock, but looks of others go on: it is the only read lock, and its owner the one who upgrades.
-- ARGV[5]: w, r, or f (a fetch, which waits for writers alone). ARGV[6]: letters: q to be put into the
-- queue where it is not free; h if this process holds locks, so that others may wait for it; a if it has
-- asked before, and may be in the queue. Returns 1 (a table would cost a tenth more), or REMOVED, BUSY, NOBODY or DEADLOCK.
if call('PUBSUB', 'NUMSUB', P .. 'p:' .. me)[2] == 0 then return 'NOBODY' end
local m = call('HMGET', key, '!s', '!w', '!u', '!h', '!R')
local join = ARGV[4] == 'join'

local function grant(kind, mine)
    if kind == 'w' and not join then return call('HSET', key, '!w', me) end
    if not mine then
        call('SADD', key .. ':r', me)
        call('HINCRBY', key, '!R', 1)
    end
    if join then call('HSET', key, '!u', me) end
end

if ARGV[5] == 'w' and ARGV[4] ~= 'turn' and m[1] and not (m[2] or m[3] or m[4] or m[5]) and held == '' then
    grant('w')
    if string.find(ARGV[6], 'a') then library().leave(key) end
    return 1
end
local L = library()
if not m[1] then return 'REMOVED' end
local what, kind, queue, holds = join and 'lock' or ARGV[4], ARGV[5], string.find(ARGV[6], 'q'), string.find(ARGV[6], 'h')
local entry = kind .. ':' .. me
if m[2] and m[2] ~= me and not L.alive(m[2]) then
    call('HDEL', key, '!w')
    m[2] = false
end
if m[2] == me then return 1 end
local readers, mine = {}, false
if kind ~= 'f' then readers, mine = L.readers(key) end
if kind == 'r' and mine then return 1 end

-- Is somebody whom the queue has let know before us?
local function reserved()
    local who = m[4]
    return who and string.sub(who, 3) ~= me and not (kind == 'r' and string.sub(who, 1, 1) ~= 'w')
        and L.now() - tonumber(call('HGET', key, '!H') or 0) < 20
end

-- New readers come after the writers that wait.
local function writer_waits()
    local rank = call('ZRANK', key .. ':q', entry)
    if rank == 0 then return false end
    for _, other in ipairs(call('ZRANGE', key .. ':q', 0, (rank or 0) - 1)) do
        if string.sub(other, 1, 1) == 'w' then
            if L.alive(string.sub(other, 3)) then return true end
            call('ZREM', key .. ':q', other)
        end
    end
    return false
end

local blockers = {}
if m[2] then
    blockers = { m[2] }
elseif kind == 'w' and #readers > 0 then
    blockers = readers
    if mine then
        if m[3] and m[3] ~= me and L.alive(m[3]) then return 'DEADLOCK' end
        if queue then call('HSET', key, '!u', me) end
    end
elseif what == 'lock' and kind == 'r' and m[3] and m[3] ~= me and L.alive(m[3]) then
    blockers = { m[3] }
elseif what == 'lock' and not mine and (reserved() or (kind == 'r' and writer_waits())) then
    blockers = {}
else
    if what == 'turn' then return 1 end
    if L.leave(key) and kind == 'r' then L.wake(key) end
    grant(kind, mine)
    return 1
end
if not queue then return 'BUSY' end

-- Who waits for me, over however many others?
call('HSET', P .. 'w', me, key)
if holds then
    local seen, i = {}, 1
    while blockers[i] do
        local owner = blockers[i]
        if owner == me then
            L.leave(key)
            return 'DEADLOCK'
        end
        if not seen[owner] then
            seen[owner] = true
            local waits = call('HGET', P .. 'w', owner)
            if waits and (L.alive(owner)) then
                local writer = call('HGET', waits, '!w')
                if writer then blockers[#blockers + 1] = writer end
                if not (writer and writer == owner) then
                    for _, reader in ipairs(call('SMEMBERS', waits .. ':r')) do
                        if reader ~= owner then blockers[#blockers + 1] = reader end
                    end
                end
            end
        end
        i = i + 1
    end
end
local last = call('ZRANGE', key .. ':q', -1, -1, 'WITHSCORES')
call('ZADD', key .. ':q', 'NX', (last[2] or 0) + 1, entry)
return 'BUSY'
