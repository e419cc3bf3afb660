-- The entries of the outbox: a stream, whose ids are the places. Of those that are parked there are
-- the places by number, their reasons, and `<ordering key>\0<place>` for those with a key, which
-- block what comes after them. KEYS 2 to 5 are these.
local OUTBOX, PARKED, REASONS, BLOCKS = KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local function id_of(place)
  return place .. '-0'
end

-- A place as 20 digits, so that the order of texts is their order.
local function in_order(place)
  return string.rep('0', 20 - #place) .. place
end

local function fields_of(entry)
  local fields = {}
  for at = 1, #entry[2], 2 do
    fields[entry[2][at]] = entry[2][at + 1]
  end
  return fields
end

local function entry_at(place)
  local found = call('XRANGE', OUTBOX, id_of(place), id_of(place))[1]
  return found and fields_of(found)
end

local function block_of(key, place)
  return key .. '\0' .. in_order(place)
end

-- Whether an earlier entry of the same key is parked.
local function is_blocked(key, place)
  local from, to = '[' .. key .. '\0', '(' .. block_of(key, place)
  return key and #call('ZRANGEBYLEX', BLOCKS, from, to, 'LIMIT', '0', '1') > 0
end

-- Takes an entry off the parked ones; answers whether it was among them.
local function free(place, key)
  if call('ZREM', PARKED, place) == 0 then
    return false
  end
  call('HDEL', REASONS, place)
  if key then
    call('ZREM', BLOCKS, block_of(key, place))
  end
  return true
end
