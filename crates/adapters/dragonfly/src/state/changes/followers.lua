-- All followers, after the ends of the log.
local all = {}
local known = call('HGETALL', FOLLOWERS)
for at = 1, #known, 2 do
  all[#all + 1] = shown(known[at], follower_of(known[at + 1]))
end
return { told(extent()), all }
