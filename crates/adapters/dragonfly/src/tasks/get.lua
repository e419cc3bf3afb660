-- One task by its id.
ring()
local place = call('HGET', IDS, ARGV[4])
return place and { show(place, load(place)) } or {}
