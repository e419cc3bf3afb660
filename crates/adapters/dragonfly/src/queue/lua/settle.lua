-- Settling deliveries of any sort, one after the other. See `acknowledge.lua` for what is asked.
queue_at(1)
local groups = {}
for number = 1, count do
  local group = group_at(4 + (number - 1) * PER_GROUP, ARGV[2 + number])
  group.exists = exists(group)
  groups[number] = group
end
local at = now()

-- The answer to a delivery that is not leased: whether it was settled just so before.
local function again(item)
  local known = news[item.receive]
  local action = known and known.actions[item.place]
  if not action then
    action = string.sub(recall(item.receive), item.place + 1, item.place + 1)
  end
  return action == item.action and 'OK' or 'LOST'
end

-- The heads of deliveries as they were read, most of which are alike.
local heads = {}

local function read_head(text_of_head)
  local head = heads[text_of_head]
  if not head then
    local group, receive, size, action, span =
      string.match(text_of_head, '^(%d+):(%d+):(%d+):(%a):(%d+)$')
    head = {
      group = groups[tonumber(group)], receive = tonumber(receive), size = tonumber(size),
      action = action, span = tonumber(span),
    }
    heads[text_of_head] = head
  end
  return head
end

local function read_item(first)
  local head = read_head(ARGV[first])
  return {
    group = head.group, receive = head.receive, size = head.size, action = head.action,
    span = head.span, place = tonumber(ARGV[first + 1]), word = ARGV[first + 2],
    said = ARGV[first + 3],
  }
end

-- What an acknowledgement wants to know of a word: seq, attempts, shared, key.
local FACTS = '^(%d+):%d:%d+:%d+:%d+:(%d+):(%d):([^|]*)'

-- Forgets a message that was acknowledged; answers its seq when the message itself goes as well.
local function acknowledge_one(group, word)
  local seq, attempts, shared, key = string.match(word, FACTS)
  if attempts ~= '1' then
    call('HDEL', group.errors, seq)
  end
  if key ~= '' then
    free_key(group, key)
  end
  if shared == '0' then
    return seq
  end
  drop_body({ seq = seq, shared = true })
end

-- Acknowledges deliveries of one group that are still leased, each in one step for all.
local function acknowledge(group, items)
  local words, bodies, count = {}, {}, 0
  for number, item in ipairs(items) do
    words[number] = item.word
  end
  call('ZREM', group.leased, unpack(words))
  for _, item in ipairs(items) do
    local seq = acknowledge_one(group, item.word)
    if seq then
      count = count + 1
      bodies[count] = seq
    end
    note(item)
  end
  group.left = true
  if count > 0 then
    call('HDEL', BODY, unpack(bodies))
  end
end

local function extend(group, item)
  local word = string.match(item.word, '^[^|]*') .. '|' .. item.said
  call('ZADD', group.leased, text(at + item.span), word)
  set_alarm(group, at + item.span)
  return word
end

-- Settles a delivery that is still leased, but for an acknowledgement.
local function settle_one(group, item)
  call('ZREM', group.leased, item.word)
  if item.action == 'x' then
    return extend(group, item)
  end
  local held = read(item.word)
  if item.action == 'n' then
    fail_attempt(group, held, at, item.said, item.span > 0 and at + item.span or 0)
  elseif item.action == 'd' then
    bury(group, held, at, item.said)
  else
    held.attempts = held.attempts - 1
    put_back(group, held, at, 0)
    return 'OK'
  end
  note(item)
  return 'OK'
end

-- The deliveries from `first` on that are acknowledgements of one group, at most as many as a
-- command takes.
local function run(items, first)
  local last = first
  local group = items[first].group
  while items[last + 1] and last - first < 999 and items[last + 1].action == 'a'
    and items[last + 1].group == group do
    last = last + 1
  end
  return last
end

local answers, items = {}, {}

local function acknowledge_run(first, last)
  local group, words = items[first].group, {}
  for number = first, last do
    words[number - first + 1] = items[number].word
  end
  local ends = call('ZMSCORE', group.leased, unpack(words))
  local leased, seen, count = {}, {}, 0
  for number = first, last do
    local item, lease = items[number], ends[number - first + 1]
    if lease and tonumber(lease) > at and not seen[item.word] then
      count = count + 1
      leased[count] = item
      seen[item.word] = true
      answers[number] = 'OK'
    end
  end
  if count > 0 then
    acknowledge(group, leased)
  end
  for number = first, last do
    answers[number] = answers[number] or again(items[number])
  end
end

local function settle(number)
  local item = items[number]
  local group = item.group
  if not group.exists then
    answers[number] = 'LOST'
    return number
  end
  if item.action == 'a' then
    local last = run(items, number)
    acknowledge_run(number, last)
    return last
  end
  local lease = call('ZSCORE', group.leased, item.word)
  if lease and tonumber(lease) > at then
    answers[number] = settle_one(group, item)
  else
    answers[number] = again(item)
  end
  return number
end

for first = 3 + count, #ARGV, 4 do
  items[#items + 1] = read_item(first)
end
local number = 1
while number <= #items do
  number = settle(number) + 1
end
remember()
for _, group in ipairs(groups) do
  wrap_up(group)
end
return answers
