-- A message of a group, as one word of text that moves from place to place:
--
--   seq:rank:delay:ttl:size:attempts:shared:key
--
-- seq       when it was accepted, in microseconds, and its number: no two are equal
-- rank      0 for the highest priority, 9 for the lowest
-- delay     from seq to when it is first due, its place in the order; in microseconds
-- ttl       from when it is due to its expiry, in microseconds; 0 for never
-- size      of the stored message, in bytes
-- attempts  how often it was handed out
-- shared    1 when other groups have it as well
-- key       stands for its ordering key; empty without one
--
-- A word sorts by seq, which has 16 digits until the year 2286.
local unpack = unpack or table.unpack

local WORD = '^(%d+):(%d):(%d+):(%d+):(%d+):(%d+):(%d):([^|]*)'

local function read(word)
  local seq, rank, delay, ttl, size, attempts, shared, key = string.match(word, WORD)
  return {
    seq = seq, rank = tonumber(rank), delay = tonumber(delay), ttl = tonumber(ttl),
    size = tonumber(size), attempts = tonumber(attempts), shared = shared == '1', key = key,
  }
end

local function write(held)
  return table.concat({
    held.seq, text(held.rank), text(held.delay), text(held.ttl), text(held.size),
    text(held.attempts), held.shared and '1' or '0', held.key,
  }, ':')
end

local function due(held)
  return tonumber(held.seq) + held.delay
end

-- When it expires; nil for never.
local function expires(held)
  if held.ttl > 0 then
    return due(held) + held.ttl
  end
end

-- The weight of a rank in a place's score, beyond all times in milliseconds.
local RANK = 10000000000000

-- Its place among what is ready: by rank, then by when it is due; seq decides what is left.
local function place(held)
  return text(held.rank * RANK + math.floor(due(held) / 1000))
end
