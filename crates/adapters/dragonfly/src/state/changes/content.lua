-- What changed versions wrote. KEYS: for each its record. ARGV: for each its version. Answers what
-- each is and its own part of the content; nothing of one that is not kept.
local found = {}
for index, record in ipairs(KEYS) do
  local version = ARGV[index]
  local is = version_of(record, version)
  found[index] = is and { is, call('HGET', record, 'd' .. version) or '' }
end
return found
