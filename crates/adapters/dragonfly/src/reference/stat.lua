-- What is known of content.
local id = ARGV[1]
local entry = load_live(id)
return entry and { show(id, entry) } or {}
