-- Removes content whoever holds it; answers whether it was there.
local CHUNKS = KEYS[11]
local id = ARGV[1]
local entry = load(id)
if entry then
  drop(id, entry)
end
call('UNLINK', CHUNKS)
call('SREM', TRASH, id)
return is_live(entry) and 1 or 0
