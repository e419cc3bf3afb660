local RANK = 10000000000000
local FIRST, WIDTH, last = 4, 3, #ARGV

local batch = counted(ARGV[1])
if not batch then
  return { 'STALE' }
end
local count = 0
local keys = {}
for at = FIRST + 1, last, WIDTH do
  count = count + 1
  keys[count] = string.sub(ARGV[at], 1, 16)
end
accepted_at(4, tonumber(ARGV[2]), batch.now, keys)

-- The heads of messages as they were read, many of which are alike: of each group the key of what
-- is ready, the rank's part of the score, and what a word has before and after its size.
local heads = {}

local function read_head(head)
  local targets = {}
  for group, rank in string.gmatch(head, '(%d+):(%d)') do
    targets[#targets + 1] = { group = tonumber(group), rank = tonumber(rank) * RANK, before = ':' .. rank .. ':0:0:' }
  end
  local shared = #targets > 1 and '1' or '0'
  for _, target in ipairs(targets) do
    target.after = ':0:' .. shared .. ':'
  end
  heads[head] = targets
  return targets
end

local bodies, written, new = {}, 0, {}

-- Puts an accepted message where it belongs.
local function place(targets, seq, body)
  bodies[written + 1], bodies[written + 2] = seq, body
  written = written + 2
  if #targets > 1 then
    call('HSET', SHARES, seq, text(#targets))
  end
  local size, ms = #body, math.floor(batch.seq / 1000)
  for _, target in ipairs(targets) do
    local list = new[target.group]
    if not list then
      list = { count = 0 }
      new[target.group] = list
    end
    local at = list.count
    list[at + 1], list[at + 2] = text(target.rank + ms), seq .. target.before .. size .. target.after
    list.count = at + 2
  end
end

-- Takes in the message whose arguments begin at `at`.
local function take_in(at, key)
  local value, body = string.sub(ARGV[at + 1], 17), ARGV[at + 2]
  local earlier = accepted.known[key]
  if earlier then
    return repeated(earlier, value)
  end
  local targets = heads[ARGV[at]] or read_head(ARGV[at])
  if #targets == 0 and ARGV[3] == 'r' then
    return 'N'
  end
  batch.seq = math.max(batch.seq + 1, batch.now)
  local seq = text(batch.seq)
  accept(key, value .. seq .. #targets)
  cast(batch, seq, 0, 0, body)
  if #targets > 0 then
    place(targets, seq, body)
  end
  return 'A'
end

local answers = {}
for number = 1, count do
  answers[number] = take_in(FIRST + (number - 1) * WIDTH, keys[number])
end
in_parts('HSET', BODY, bodies)
for group, list in pairs(new) do
  local state, ready = KEYS[4 + group * 2], KEYS[5 + group * 2]
  local was_empty = call('EXISTS', ready) == 0
  in_parts('ZADD', ready, list)
  if was_empty then
    call('PUBLISH', state .. ':ready', '')
  end
end
in_parts('HSET', accepted.key, accepted.new)
count_up(batch)
return answers
