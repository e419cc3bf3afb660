-- Entries to send after a place. ARGV: the number of the lease; the place; at most how many; after
-- how many bytes to stop; how many to look at. Answers `lost`, or `read`, the last place that was
-- looked at, whether there are more, and the entries: place, time, properties, body.
local LIMIT, ROOM, LOOKS = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local RUN = 200
if not is_held(ARGV[1], now()) then
  return { 'lost' }
end

local parks = call('ZCARD', PARKED) > 0
local found, last = {}, ARGV[2]

local function is_open(place, fields)
  if not parks then
    return true
  end
  return not call('ZSCORE', PARKED, place) and not (fields.k and is_blocked(fields.k, place))
end

-- Reads one run; answers whether there may be more.
local function read()
  local run = math.min(RUN, LIMIT)
  local from = id_of(text(tonumber(last) + 1))
  local entries = call('XRANGE', OUTBOX, from, '+', 'COUNT', text(run))
  for _, entry in ipairs(entries) do
    if #found == LIMIT or ROOM <= 0 then
      return false
    end
    local place, fields = string.match(entry[1], '^%d+'), fields_of(entry)
    if is_open(place, fields) then
      found[#found + 1] = { place, fields.a, fields.p, fields.b }
      ROOM = ROOM - #fields.b
    end
    last = place
  end
  LOOKS = LOOKS - #entries
  return #entries == run
end

local more = true
while more and #found < LIMIT and ROOM > 0 and LOOKS > 0 do
  more = read()
end
return { 'read', last, more and '1' or '', found }
