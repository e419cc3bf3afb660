-- Sets the ttl anew; answers whether the content is there.
local id, ttl = ARGV[1], tonumber(ARGV[2])
local entry = load_live(id)
if not entry then
  return 0
end
set_expiry(id, entry, ttl and NOW + ttl)
update(id, entry, entry.holders, next_use())
return 1
