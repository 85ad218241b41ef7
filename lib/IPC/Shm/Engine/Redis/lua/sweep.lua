#!lua flags=allow-oom
-- Free variables (from ARGV[4] on) that only refer to one another. Whether that is still so
-- is seen here, in one moment: nobody has them, and all references to them are among them.
local L = library()
local inside = {}
for i = 4, #ARGV do
    local m = call('HMGET', P .. 'v:' .. ARGV[i], '!t', '!n', '!a', '!N')
    if m[1] then
        if tonumber(m[3] or 0) > 0 or m[4] then return { 0, 0 } end
        inside[ARGV[i]] = tonumber(m[2] or 0)
    end
end
local outside = {}
for id in pairs(inside) do
    for _, target in ipairs(L.all_references(P .. 'v:' .. id)) do
        if inside[target] then inside[target] = inside[target] - 1 else outside[#outside + 1] = target end
    end
end
local freed = 0
for _, count in pairs(inside) do
    if count > 0 then return { 0, 0 } end
end
for id in pairs(inside) do
    L.erase(P .. 'v:' .. id)
    freed = freed + 1
end
L.let_go(outside)
return { 0, freed }
