-- One version. KEYS: the record. ARGV: the version. Answers `never`, `pruned`, `expired` with the
-- version before, or `kept` with what it is and its content.
local record, wanted = KEYS[1], ARGV[1]
local AT = now()
local current = current_of(record)
if not current.is or below(wanted, current.first) or below(version_now(current, AT), wanted) then
  return { 'never' }
end
if below(current.version, wanted) then
  return { 'expired', current.is }
end
local is = version_of(record, wanted)
if not is then
  return { 'pruned' }
end
return { 'kept', is, is[LIFE] == LIVE and content_of(record, wanted, is) or '' }
