-- Pushes all tasks or none; with a parent, ends its lease and suspends it.
local OP = KEYS[14]
local stack, by, place_above, nonce = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local fingerprint, window, max_nesting = ARGV[8], ARGV[9], tonumber(ARGV[10])
-- Each task is these fields: id, kind, content type, payload, max_attempts, backoff, delay.
local FIRST, FIELDS = 11, 7

if fingerprint ~= '' then
  local packed = call('GET', OP)
  if packed then
    local first = cmsgpack.unpack(packed)
    if first.fingerprint ~= fingerprint then
      return { 'other' }
    end
    return { 'pushed', first.ids, first.duplicates }
  end
end

-- Which tasks were pushed before, just so: a digit for each.
local function known(at)
  local place = call('HGET', IDS, ARGV[at])
  if not place then
    return '0'
  end
  local node = load(place)
  local same = node.stack == stack and node.kind == ARGV[at + 1]
    and (node.parent or '') == place_above
    and call('HGET', PAYLOADS, place) == ARGV[at + 3]
  return same and '1'
end

local ids, digits, new = {}, {}, 0
for at = FIRST, #ARGV, FIELDS do
  local digit = known(at)
  if not digit then
    return { 'taken', ARGV[at] }
  end
  table.insert(ids, ARGV[at])
  table.insert(digits, digit)
  if digit == '0' then
    new = new + 1
  end
end
local duplicates = table.concat(digits)

local above, depth = nil, 0
if place_above ~= '' then
  above = load(place_above)
  local how = standing(above, nonce)
  if how ~= 'held' then
    return { how }
  end
  depth = above.depth + 1
  if depth > max_nesting then
    return { 'nested', depth }
  end
end

local last = call('HINCRBY', LAST, 'place', new) - new
for index = 1, #ids do
  if digits[index] == '0' then
    local at = FIRST + (index - 1) * FIELDS
    last = last + 1
    local place, delay = string.format('%014x', last), tonumber(ARGV[at + 6])
    local node = {
      id = ARGV[at], stack = stack, kind = ARGV[at + 1], content_type = ARGV[at + 2],
      max_attempts = tonumber(ARGV[at + 4]), backoff = ARGV[at + 5], attempt = 0,
      depth = depth, created = NOW, by = by,
    }
    call('HSET', IDS, node.id, place)
    call('HSET', PAYLOADS, place, ARGV[at + 3])
    call('ZADD', STACKED, 0, stack .. ':' .. place)
    call('ZADD', ORDER, 0, place)
    if above then
      node.parent = place_above
      call('ZADD', CHILDREN, 0, place_above .. ':' .. place)
    end
    if delay > 0 then
      stand(place, node, 'delayed', NOW + delay)
      tell_timer(place)
    else
      stand(place, node, 'ready')
    end
    save(place, node)
  end
end

if above then
  above.nonce, above.worker, above.pending = nil, nil, new
  if new > 0 then
    stand(place_above, above, 'suspended')
  else
    above.resumes = true
    stand(place_above, above, 'ready')
  end
  save(place_above, above)
end
if fingerprint ~= '' then
  local first = { fingerprint = fingerprint, ids = ids, duplicates = duplicates }
  call('SET', OP, cmsgpack.pack(first), 'PX', window)
end
ring()
return { 'pushed', ids, duplicates }
