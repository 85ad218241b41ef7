#!lua
-- Attach this process to the variables from ARGV[4] on; of each: serial, name, first index, or false
-- where it is not there.
local L = library()
if not L.alive(me) then return 'NOBODY' end
local there = {}
for i = 4, #ARGV do
    there[#there + 1] = L.attach(ARGV[i]) and call('HMGET', P .. 'v:' .. ARGV[i], '!s', '!N', '!f')
end
return { 0, there }
