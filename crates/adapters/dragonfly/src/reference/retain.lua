-- Adds a holder or renews it; answers whether the content is there.
local id, holder, length = ARGV[1], ARGV[2], tonumber(ARGV[3])
local entry = load_live(id)
if not entry then
  return 0
end
hold(id, entry, holder, length and NOW + length)
return 1
