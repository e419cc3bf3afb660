-- The change log: a stream with one entry for each change, whose id is its position. KEYS 1 and 2
-- are the namespace's counters and the log; ARGV 1 is the name of the log if it has none yet.
--
-- A cursor is the name of the log, the position of the last change that was read, and its time. A
-- log that was rewound to an older snapshot and has gone on has another change there, of another
-- time: so such a cursor is known to be lost.
local META, CHANGES = KEYS[1], KEYS[2]

-- The ends of the log, each with the time of the change before it.
local function extent()
  local known = call('HMGET', META, 'log', 'oldest', 'oldest_stamp', 'head', 'stamp')
  if not known[1] then
    call('HSET', META, 'log', ARGV[1])
  end
  return {
    log = known[1] or ARGV[1],
    oldest = tonumber(known[2] or '0'), oldest_stamp = known[3] or '0',
    head = tonumber(known[4] or '0'), stamp = known[5] or '0',
  }
end

-- The ends as an answer: the name, then position and time of the oldest place and of the head.
local function told(ends)
  return { ends.log, text(ends.oldest), ends.oldest_stamp, text(ends.head), ends.stamp }
end

local function change_at(position)
  local id = text(position) .. '-0'
  local found = call('XRANGE', CHANGES, id, id)[1]
  return found and cmsgpack.unpack(found[2][2])
end

-- The time of the change at a position that is kept.
local function stamp_at(ends, position)
  if position == ends.head then
    return ends.stamp
  elseif position == ends.oldest then
    return ends.oldest_stamp
  end
  local change = change_at(position)
  return change and change[1]
end

-- Why a cursor is lost; nothing of one that is not. Whoever only looks back may have one that was
-- trimmed.
local function lost(ends, log, position, stamp, back)
  if log ~= ends.log then
    return 'it is of another log'
  elseif position > ends.head then
    return 'it is ahead of the log'
  elseif position < ends.oldest then
    return not back and 'it was trimmed' or nil
  elseif stamp_at(ends, position) ~= stamp then
    return 'the log was rewound to an older state'
  end
end
