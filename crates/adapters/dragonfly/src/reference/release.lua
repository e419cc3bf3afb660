-- Removes a holder; answers whether it held.
local id, holder = ARGV[1], ARGV[2]
local entry = load_live(id)
return entry and let_go(id, entry, holder) and 1 or 0
