#!lua flags=no-writes
-- What is to be told of the variables from ARGV[4] on.
local all = {}
for i = 4, #ARGV do
    local k = P .. 'v:' .. ARGV[i]
    local m = call('HMGET', k, '!t', '!s', '!l', '!N', '!w', '!n', '!a', '!k')
    if m[1] then
        all[#all + 1] = { ARGV[i], m[1], m[2], m[3] - call('ZCOUNT', k .. ':e', '-inf', call('TIME')[1] .. '000'), m[4], m[5], m[6], m[7], call('MEMORY', 'USAGE', k) or 0, call('SMEMBERS', k .. ':r'), m[8] }
    end
end
return { 0, all }
