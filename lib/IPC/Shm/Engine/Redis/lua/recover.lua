#!lua flags=allow-oom
-- Forget the dead, free what they alone used, and what earlier calls have left for later.
local L = library()
local freed, more = L.reap()
local ids = call('LRANGE', P .. 'g', 0, 1999)
if #ids > 0 then
    call('LTRIM', P .. 'g', #ids, -1)
    freed = freed + L.let_go(ids)
end
return { 0, freed, call('LLEN', P .. 'g') + more }
