#!lua
-- Changes of several variables as one. ARGV[4]: the IDs of what is referred to in what is stored. Then, of each
-- variable: its key, the lock that this process believes to have there, the locks that end with this, the script
-- that changes it or '', how many arguments that has, and those. All that could refuse one of them comes
-- before the first change. Returns 0 and the serials, or the number of a variable and what refuses it.
local run = { array = array, assign = assign, patch = patch, put = put, queue = queue }
local L = library()
local changes, i = {}, 5
while ARGV[i] do
    local change = { key = ARGV[i], held = ARGV[i + 1], ends = ARGV[i + 2], run = run[ARGV[i + 3]], words = { '', '', '' } }
    for j = i + 5, i + 4 + ARGV[i + 4] do change.words[#change.words + 1] = ARGV[j] end
    changes[#changes + 1] = change
    i = i + 5 + ARGV[i + 4]
end
for n, change in ipairs(changes) do
    key, held = change.key, change.held
    local m = call('HMGET', key, '!s', '!w', '!R')
    if not m[1] then return { n, 'REMOVED' } end
    local why = L.blocked(m)
    if why then return { n, why } end
    if change.run == assign and change.words[5] ~= '' and change.words[5] ~= m[1] then return { n, 'CHANGED' } end
end
for id in string.gmatch(ARGV[4], '%S+') do
    if call('EXISTS', P .. 'v:' .. id) == 0 then return { 1, 'GONE' } end
end
local reply = { 0 }
for n, change in ipairs(changes) do
    key, held = change.key, change.held
    local done = change.run and change.run(change.words) or { 0 }
    if type(done) ~= 'table' then error('one of several changes was refused: ' .. done) end
    reply[n + 1] = tonumber(done[1])
end
for _, change in ipairs(changes) do
    key = change.key
    if change.ends ~= '' then unlock({ '', '', '', change.ends }) end
end
return reply
