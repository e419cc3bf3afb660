-- Taking messages in.
--
-- KEYS  meta, body, shares, two of what was accepted; twelve of each group; of each delayed
--       message that of its schedule
-- ARGV  epoch, window in microseconds, with `r` when a route is required and `a` when each stands
--       apart from the others of its ordering key, number of groups; what each promises; of each message four: `rank:delay:ttl:key:route`, its idempotency key, what is
--       remembered of it (id and fingerprint), and its stored form
--
-- Answers STALE when the client's groups are not those of the server; else one word per message:
-- A accepted, D and what is remembered: a repeat, C and the same: a repeat with other content,
-- N no group hears it, F and a number: that group has no room, B behind a failure of its key.

-- How many messages a group holds that take room.
local function length(group)
  return call('ZCARD', group.ready) + call('ZCARD', group.waiting) + call('ZCARD', group.delayed)
    + call('ZCARD', group.leased)
end

-- Takes the ready message that has been due longest out of its place; says whether it waited.
local function take_oldest(group)
  local word, oldest, waits
  for rank = 0, 9 do
    local from, to = text(rank * RANK), '(' .. text((rank + 1) * RANK)
    local first = call('ZRANGEBYSCORE', group.ready, from, to, 'LIMIT', '0', '1')[1]
    local held = first and read(first)
    if held and (not oldest or due(held) < due(oldest)) then
      word, oldest = first, held
    end
  end
  local member = call('ZRANGE', group.oldest, '0', '0')[1]
  local waiting = member and read(string.sub(member, string.find(member, ':', 1, true) + 1))
  if waiting and (not oldest or due(waiting) < due(oldest)) then
    take_waiting(group, member)
    word, oldest, waits = write(waiting), waiting, true
  elseif oldest then
    call('ZREM', group.ready, word)
  end
  if oldest and oldest.ttl > 0 then
    call('ZREM', group.expiry, word)
  end
  return oldest, waits
end

-- How many messages must go before the group can take one more; nil when it cannot.
local function excess(group, at)
  if group.max_length == 0 then
    return 0
  end
  local over = length(group) - group.max_length + 1
  if over > 0 then
    -- What has expired makes room.
    tidy(group, at)
    over = length(group) - group.max_length + 1
  end
  if over <= 0 then
    return 0
  end
  if group.overflow == 'drop' and call('ZCARD', group.ready) + call('ZCARD', group.waiting) >= over then
    return over
  end
end

local function make_room(group, over)
  for _ = 1, over do
    local oldest, waited = take_oldest(group)
    call('HINCRBY', group.state, 'dropped', '1')
    finish(group, oldest, oldest.attempts, waited)
  end
end

-- The heads of messages as they were read, many of which are alike.
local heads = {}

-- What a head says to one group: the parts of a word around seq and size.
local function target(head, group)
  local rank = group.priorities and head.rank or 0
  local key = group.ordering and head.key or ''
  return {
    group = group, rank = rank, key = key,
    after_seq = table.concat({ '', rank, text(head.delay), text(head.ttl), '' }, ':'),
    after_size = ':0:' .. (#head.route > 1 and '1' or '0') .. ':' .. key,
    plain = key == '' and head.delay == 0 and head.ttl == 0,
  }
end

local function read_head(text_of_head, groups)
  local head = heads[text_of_head]
  if head then
    return head
  end
  local rank, delay, ttl, key, route = string.match(text_of_head, '^(%d):(%d+):(%d+):([^:]*):(.*)$')
  head = {
    rank = tonumber(rank), delay = tonumber(delay), ttl = tonumber(ttl), key = key, route = {},
    targets = {}, bounded = false,
  }
  for number in string.gmatch(route, '%d+') do
    local group = groups[tonumber(number)]
    head.route[#head.route + 1] = group
    head.bounded = head.bounded or group.max_length > 0
  end
  for at, group in ipairs(head.route) do
    head.targets[at] = target(head, group)
  end
  heads[text_of_head] = head
  return head
end

-- What is on its way: each kind is written at once, as soon as something may look.
local new = { bodies = {}, held = 0, groups = {} }

local function flush()
  in_parts('HSET', BODY, new.bodies)
  for _, group in ipairs(new.groups) do
    in_parts('ZADD', group.ready, group.new)
    group.new, group.news = nil, 0
  end
  new = { bodies = {}, held = 0, groups = {} }
end

-- The places of messages without delay, by rank; alike for all that come in one millisecond.
local places = { ms = 0 }

local function place_now(rank, seq)
  local ms = math.floor(seq / 1000)
  if places.ms ~= ms then
    places = { ms = ms }
  end
  local known = places[rank]
  if not known then
    known = text(rank * RANK + ms)
    places[rank] = known
  end
  return known
end

local function put_new(group, score, word)
  local list = group.new
  if not list then
    before_ready(group)
    list = {}
    group.new, group.news = list, 0
    new.groups[#new.groups + 1] = group
  end
  local count = group.news
  list[count + 1] = score
  list[count + 2] = word
  group.news = count + 2
end

-- Writes an accepted message into the groups of its route.
local function spread(head, number, seq, body, schedule)
  local size, bodies, held = #body, new.bodies, new.held
  bodies[held + 1] = seq
  bodies[held + 2] = body
  new.held = held + 2
  if #head.route > 1 then
    call('HSET', SHARES, seq, text(#head.route))
  end
  local scheduled = schedule and {}
  for at, target in ipairs(head.targets) do
    local word = seq .. target.after_seq .. size .. target.after_size
    if target.plain then
      put_new(target.group, place_now(target.rank, number), word)
    else
      admit(target.group, read(word), number)
    end
    if schedule then
      scheduled[at] = target.group.state .. ' ' .. word
    end
  end
  if scheduled then
    local lasts = text(math.ceil(head.delay / 1000))
    call('SET', schedule, table.concat(scheduled, '\n'), 'PX', lasts)
  end
end

-- Makes room for one in each group; answers the first that has none, or nothing.
local function make_room_for_one(head, at)
  flush()
  local over = {}
  for number, group in ipairs(head.route) do
    over[number] = excess(group, at)
    if not over[number] then
      return group
    end
  end
  for number, group in ipairs(head.route) do
    make_room(group, over[number])
  end
end

-- Takes one message in. One that is not accepted has written nothing.
local function take_in_one(batch, head, schedule, key, value, body)
  local earlier = accepted.known[key]
  if earlier then
    return repeated(earlier, value)
  end
  if #head.route == 0 and batch.require_route then
    return 'N'
  end
  local full = head.bounded and make_room_for_one(head, batch.now)
  if full then
    return 'F' .. text(full.number)
  end
  batch.seq = math.max(batch.seq + 1, batch.now)
  local seq = text(batch.seq)
  accept(key, value .. seq .. #head.route)
  cast(batch, seq, head.delay, head.ttl, body)
  if #head.route > 0 then
    spread(head, batch.seq, seq, body, schedule)
  end
  return 'A'
end

-- Takes in the messages of a batch.
local function take_in_each(batch)
  local answers, failed, count, k = {}, {}, 0, batch.schedules
  for at = batch.first, batch.last, 4 do
    local head = read_head(ARGV[at], batch.groups)
    local schedule
    if head.delay > 0 then
      schedule = KEYS[k]
      k = k + 1
    end
    local answer = 'B'
    if head.key == '' or not failed[head.key] then
      answer = take_in_one(batch, head, schedule, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
    end
    if head.key ~= '' and not batch.apart and not string.find(answer, '^[AD]') then
      failed[head.key] = true
    end
    count = count + 1
    answers[count] = answer
  end
  return answers
end

-- The batch whose keys, after the shared ones, begin at `k` and whose arguments at `a`; nothing
-- when the client's groups are not those of the server.
local function open_batch(k, a, last)
  local batch = counted(ARGV[a])
  if not batch then
    return nil
  end
  batch.require_route = string.find(ARGV[a + 2], 'r', 1, true)
  batch.apart = string.find(ARGV[a + 2], 'a', 1, true)
  batch.groups, batch.schedules, batch.first, batch.last = {}, k + 2, a + 4, last
  for number = 1, tonumber(ARGV[a + 3]) do
    local group = group_at(batch.schedules, ARGV[batch.first])
    group.number = number
    batch.groups[number] = group
    batch.schedules, batch.first = batch.schedules + PER_GROUP, batch.first + 1
  end
  local keys = {}
  for at = batch.first + 1, last, 4 do
    keys[#keys + 1] = ARGV[at]
  end
  accepted_at(k, tonumber(ARGV[a + 1]), batch.now, keys)
  return batch
end

-- Writes what is on its way, and wakes those who wait.
local function close_batch(batch)
  flush()
  in_parts('HSET', accepted.key, accepted.new)
  count_up(batch)
  for _, group in ipairs(batch.groups) do
    wrap_up(group)
  end
end
