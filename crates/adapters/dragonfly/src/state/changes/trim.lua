-- Trims the log, as far as its followers let it. ARGV: 2 how many changes stay, 3 how long a change
-- stays in microseconds, each '' for ever; 4 at most how many go now. Answers how many went, and
-- whether there may be more.
local KEEP, AGE, ROOM = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local NOW = now()
local ends = extent()

-- The position up to which changes are too old, as far as ROOM reaches.
local function too_old()
  if not AGE then
    return ends.oldest
  end
  local position = ends.oldest
  for _, entry in ipairs(call('XRANGE', CHANGES, '-', '+', 'COUNT', text(ROOM))) do
    local at = cmsgpack.unpack(entry[2][2])[1]
    if tonumber(string.sub(at, 1, -4)) > NOW - AGE then
      return position
    end
    position = tonumber(string.match(entry[1], '^%d+'))
  end
  return position
end

-- The first place of a follower that trimming waits for.
local function held(followers)
  local first
  for _, is in pairs(followers) do
    local waits = not is.max_lag or ends.head - is.position <= tonumber(is.max_lag)
    if waits and not is.lost and (not first or is.position < first) then
      first = is.position
    end
  end
  return first
end

local function followers()
  local all, known = {}, call('HGETALL', FOLLOWERS)
  for at = 1, #known, 2 do
    all[known[at]] = follower_of(known[at + 1])
  end
  return all
end

local function trim()
  local all = followers()
  local by_number = KEEP and ends.head - KEEP or 0
  local wanted = math.max(ends.oldest, by_number, too_old())
  local target = math.min(wanted, held(all) or wanted, ends.oldest + ROOM)
  if target <= ends.oldest then
    return { '0', '' }
  end
  local stamp = stamp_at(ends, target)
  for name, is in pairs(all) do
    if is.position < target and not is.lost then
      is.lost = '1'
      keep(name, is)
    end
  end
  call('XTRIM', CHANGES, 'MINID', text(target + 1) .. '-0')
  call('HSET', META, 'oldest', text(target), 'oldest_stamp', stamp)
  return { text(target - ends.oldest), target == ends.oldest + ROOM and '1' or '' }
end

return trim()
