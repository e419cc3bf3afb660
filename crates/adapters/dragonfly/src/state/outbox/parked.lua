-- A page of parked entries. ARGV: after which place; at most how many; after how many bytes to
-- stop. Answers the entries, each with its reason last, and whether there are more.
local ROOM = tonumber(ARGV[3])
local found, more = {}, ''
local limit = tonumber(ARGV[2])
local places = call('ZRANGEBYSCORE', PARKED, '(' .. ARGV[1], '+inf', 'LIMIT', '0', text(limit + 1))
for _, place in ipairs(places) do
  if #found == limit or ROOM <= 0 then
    more = '1'
    break
  end
  local fields = entry_at(place)
  found[#found + 1] = { place, fields.a, fields.p, fields.b, call('HGET', REASONS, place) }
  ROOM = ROOM - #fields.b
end
return { found, more }
