#!lua
-- Changes of an array.
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
