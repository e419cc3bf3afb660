-- Writes the tombstones of records that have expired. KEYS: as for commits; then for each record
-- itself and its versions. ARGV: kind and id of each. What has changed meanwhile is passed over.
local commit = begin(counters())
next_commit(commit, '')

local function sweep(key, member)
  local current = current_of(key.record)
  if has_expired(current, NOW) and current.version ~= LAST then
    expire(commit, key, current)
  elseif current.is and current.is[EXPIRES] and not has_expired(current, NOW) then
    call('ZADD', EXPIRY, current.is[EXPIRES], member)
  else
    call('ZREM', EXPIRY, member)
  end
end

for index = 1, #ARGV / 2 do
  local kind, id = ARGV[index * 2 - 1], ARGV[index * 2]
  local key = { record = KEYS[3 + index * 2], versions = KEYS[4 + index * 2], kind = kind, id = id }
  sweep(key, kind .. '/' .. id)
end
if commit.head > commit.began then
  finish(commit)
end
return text(commit.head - commit.began)
