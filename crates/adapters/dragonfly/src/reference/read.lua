-- Content as it is stored, and marks it as used. The chunks come along when they are few.
local CHUNKS = KEYS[11]
local id, first, last, few = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local entry = load_live(id)
if not entry then
  return {}
end
update(id, entry, entry.holders, next_use())
last = math.min(last, entry.chunks - 1)
local chunks = {}
if last - first < few then
  for index = first, last do
    table.insert(chunks, call('HGET', CHUNKS, text(index)))
  end
end
return { show(id, entry), chunks }
