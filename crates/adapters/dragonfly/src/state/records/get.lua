-- Current records. KEYS: the records. ARGV: whether tombstones are wanted, and after how many bytes
-- of content to stop. Answers for each record nothing, or its version, what it is and its content;
-- fewer than asked when it stopped. A record that has expired is a tombstone.
local AT
local ALL, ROOM = ARGV[1] == 'all', tonumber(ARGV[2])

local function seen(record)
  local current = current_of(record)
  if current.is and current.is[EXPIRES] then
    AT = AT or now()
  end
  if is_live(current, AT) then
    local data = content_of(record, current.version, current.is)
    ROOM = ROOM - #data
    return { current.version, current.is, data }
  elseif not ALL or not current.is then
    return false
  elseif has_expired(current, AT) then
    local is = current.is
    return {
      version_now(current, AT),
      {
        EXPIRED, 'application/octet-stream', false, is[CREATED_AT], is[CREATED_BY], is[EXPIRES_AT],
        is[UPDATED_BY], false, false, '0', '0', false,
      },
      '',
    }
  end
  return { current.version, current.is, '' }
end

local found = {}
for index, record in ipairs(KEYS) do
  if ROOM <= 0 then
    break
  end
  found[index] = seen(record)
end
return found
