#!lua
-- Attach this process to the variables from ARGV[4] on; returns which of them are there.
local L = library()
if not L.alive(me) then return 'NOBODY' end
local there = {}
for i = 4, #ARGV do there[#there + 1] = L.attach(ARGV[i]) and 1 or 0 end
return { 0, there }
