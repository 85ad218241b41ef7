#!lua flags=allow-oom
-- Nothing is left of the namespace but the connections of those who live.
for _, owner in ipairs(call('HKEYS', P .. 'c')) do call('DEL', P .. 'a:' .. owner) end
call('DEL', P .. 'n', P .. 'all', P .. 'g', P .. 'w')
if call('EXISTS', P .. 'all') == 0 then
    local L = library()
    L.reap()
end
return { 0 }
