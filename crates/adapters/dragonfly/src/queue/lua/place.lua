-- Where a message of a group lies, and how it moves from one place to another:
--
--   ready     by rank and when it is due            waiting   behind the head of its key, by key
--   delayed   by when its wait ends                 oldest    what is waiting, by when it was due
--   leased    by when the lease ends; word|nonce    expiry    what is ready or waiting, by its end
--   heads     the keys that have a head             dead      dead letters, oldest first
--
-- The letters (what is said of a dead letter) and the errors are hashes by seq, the names of the
-- dead sort by message id. What the groups of a namespace share are its meta data, the messages
-- themselves, and how many groups have those that more than one has.
local META, BODY, SHARES
local PER_GROUP = 12
local KEPT_ERRORS = 10

-- Says where the three keys are that the groups share.
local function queue_at(at)
  META, BODY, SHARES = KEYS[at], KEYS[at + 1], KEYS[at + 2]
end

-- The group whose keys begin at `at`, with what it promises.
local function group_at(at, promise)
  local most, expired, length, overflow, priorities, ordering =
    string.match(promise, '^(%d+) (%a+) (%d+) (%a+) (%d) (%d)$')
  return {
    state = KEYS[at], ready = KEYS[at + 1], leased = KEYS[at + 2], delayed = KEYS[at + 3],
    expiry = KEYS[at + 4], waiting = KEYS[at + 5], oldest = KEYS[at + 6], heads = KEYS[at + 7],
    dead = KEYS[at + 8], letters = KEYS[at + 9], names = KEYS[at + 10], errors = KEYS[at + 11],
    max_deliveries = tonumber(most), expired = expired, max_length = tonumber(length),
    overflow = overflow, priorities = priorities == '1', ordering = ordering == '1',
  }
end

local function exists(group)
  return call('EXISTS', group.state) == 1
end

-- Remembers whether anything was ready, before the first change of that in this script.
local function before_ready(group)
  if group.was_empty == nil then
    group.was_empty = call('EXISTS', group.ready) == 0
  end
end

local function put_ready(group, held)
  before_ready(group)
  local word = write(held)
  if held.ttl > 0 then
    call('ZADD', group.expiry, text(expires(held)), word)
  end
  call('ZADD', group.ready, place(held), word)
end

local function put_waiting(group, held)
  local word = write(held)
  if held.ttl > 0 then
    call('ZADD', group.expiry, text(expires(held)), word)
  end
  local member = held.key .. ':' .. word
  call('ZADD', group.waiting, '0', member)
  call('ZADD', group.oldest, text(due(held)), member)
end

local function take_waiting(group, member)
  call('ZREM', group.oldest, member)
  return call('ZREM', group.waiting, member) == 1
end

-- Something will happen at a time, which those who wait may not expect.
local function set_alarm(group, at)
  group.alarm = math.min(group.alarm or at, at)
end

local function put_delayed(group, held, ends)
  call('ZADD', group.delayed, text(ends), write(held))
  set_alarm(group, ends)
end

-- Takes in a message that was just sent, or redriven.
local function admit(group, held, at)
  if due(held) > at and held.key == '' then
    put_delayed(group, held, due(held))
  elseif held.key == '' or call('SADD', group.heads, held.key) == 1 then
    put_ready(group, held)
  else
    put_waiting(group, held)
  end
end

-- The next message of the key becomes its head.
local function free_key(group, key)
  local found = call('ZRANGEBYLEX', group.waiting, '[' .. key .. ':', '(' .. key .. ';', 'LIMIT', '0', '1')
  local member = found[1]
  if member == nil then
    call('SREM', group.heads, key)
    return
  end
  take_waiting(group, member)
  put_ready(group, read(string.sub(member, #key + 2)))
end

-- A message that lies nowhere any more makes room, and lets the next of its key come.
local function leave(group, held, waited)
  group.left = true
  if held.key ~= '' and not waited then
    free_key(group, held.key)
  end
end

-- Drops the message itself, once no group has it any more.
local function drop_body(held)
  if held.shared then
    if call('HINCRBY', SHARES, held.seq, '-1') > 0 then
      return
    end
    call('HDEL', SHARES, held.seq)
  end
  call('HDEL', BODY, held.seq)
end

-- Forgets a message that lies nowhere any more, of which `failed` attempts left an error.
local function finish(group, held, failed, waited)
  if failed > 0 then
    call('HDEL', group.errors, held.seq)
  end
  leave(group, held, waited)
  drop_body(held)
end

-- Makes a message that lies nowhere any more a dead letter. The time is in its name, so that they
-- sort by it.
local function bury(group, held, at, reason, waited)
  local time = text(at)
  local name = time .. ':' .. held.seq
  call('ZADD', group.dead, '0', name)
  call('HSET', group.letters, held.seq, time .. ' ' .. write(held) .. ' ' .. reason)
  local body = call('HGET', BODY, held.seq)
  if body then
    call('ZADD', group.names, '0', string.sub(body, 1, 16) .. name)
  end
  leave(group, held, waited)
end

-- Deals with an expired message that lies nowhere any more.
local function expire(group, held, at, waited)
  if group.expired == 'dead' then
    bury(group, held, at, 'expired', waited)
  else
    call('HINCRBY', group.state, 'expired', '1')
    finish(group, held, held.attempts, waited)
  end
end

-- Hands a message on that came out of a lease or a delay: it is ready at its old place, or not
-- before `ends`.
local function put_back(group, held, at, ends)
  local ending = expires(held)
  if ending and ending <= at then
    expire(group, held, at)
  elseif ends > at then
    put_delayed(group, held, ends)
  else
    put_ready(group, held)
  end
end

-- Remembers what went wrong in the last attempt: `attempt:time:length:error`, one after another,
-- as many as are kept.
local function note_error(group, held, at, said)
  local kept = call('HGET', group.errors, held.seq) or ''
  local starts, from = {}, 1
  while from <= #kept do
    local _, head, length = string.find(kept, '^%d+:%d+:(%d+):', from)
    starts[#starts + 1] = from
    from = head + tonumber(length) + 1
  end
  if #starts >= KEPT_ERRORS then
    kept = string.sub(kept, starts[#starts - KEPT_ERRORS + 2])
  end
  local entry = table.concat({ text(held.attempts), text(at), text(#said), said }, ':')
  call('HSET', group.errors, held.seq, kept .. entry)
end

-- Deals with a message whose attempt has failed: it comes again from `ends` on, or not at all.
local function fail_attempt(group, held, at, said, ends)
  note_error(group, held, at, said)
  if held.attempts >= group.max_deliveries then
    bury(group, held, at, 'max_deliveries')
  else
    put_back(group, held, at, ends)
  end
end

-- When time will next make something of the group ready; nil for never.
local function next_event(group)
  local lease = call('ZRANGE', group.leased, '0', '0', 'WITHSCORES')
  local delay = call('ZRANGE', group.delayed, '0', '0', 'WITHSCORES')
  local first = lease[2] and tonumber(lease[2])
  local second = delay[2] and tonumber(delay[2])
  return first and second and math.min(first, second) or first or second
end

-- Wakes those who wait: something is ready where nothing was, something will happen earlier than
-- was to be expected, or there is room.
local function wrap_up(group)
  local stirs = group.was_empty and call('EXISTS', group.ready) == 1
  if not stirs and group.alarm then
    local event = next_event(group)
    stirs = event and event >= group.alarm
  end
  if stirs then
    call('PUBLISH', group.state .. ':ready', '')
  end
  if group.left and group.max_length > 0 then
    call('PUBLISH', group.state .. ':room', '')
  end
end
