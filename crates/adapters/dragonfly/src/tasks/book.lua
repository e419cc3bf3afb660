-- The book of a namespace's tasks: every script of the task stack begins with this text and is
-- given all of these keys. A task is named by its place, 14 hex digits that grow with each push.
local NODES, PAYLOADS, RESULTS, ATTEMPTS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
-- Places by id; "stack:place" of what is ready, and of all; all places; "parent:child".
local IDS, READY, STACKED, ORDER, CHILDREN = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
-- When delays and leases end; when roots were finished; how many stand where, by stack.
local TIMERS, FINISHED, COUNTS, LAST = KEYS[10], KEYS[11], KEYS[12], KEYS[13]

-- Channels: where each stack's wake-ups go, with its name behind, and those of the timers; and how
-- long finished tasks are kept.
local READY_CHANNEL, TIMER_CHANNEL, RETENTION = ARGV[1], ARGV[2], tonumber(ARGV[3])

-- The most timers, and forgotten tasks, that one call handles.
local STEP = 500
local KEPT_ERRORS = 10

local NOW = now()

local function load(place)
  local packed = call('HGET', NODES, place)
  return packed and cmsgpack.unpack(packed)
end

local function save(place, node)
  call('HSET', NODES, place, cmsgpack.pack(node))
end

local function is_finished(node)
  return node.state == 'completed' or node.state == 'failed' or node.state == 'cancelled'
end

-- Stacks with tasks that became ready.
local woken = {}

local function ring()
  for stack in pairs(woken) do
    call('PUBLISH', READY_CHANNEL .. stack, '')
  end
end

-- Tells those who wait when something happens earlier than they know.
local function tell_timer(place)
  if call('ZRANGE', TIMERS, 0, 0)[1] == place then
    call('PUBLISH', TIMER_CHANNEL, '')
  end
end

local function tally(stack, state, number)
  local field = stack .. ':' .. state
  if call('HINCRBY', COUNTS, field, number) == 0 then
    call('HDEL', COUNTS, field)
  end
end

-- Moves a task to a state, with all that depends on it; the caller saves it.
local function stand(place, node, state, due)
  if node.state and not is_finished(node) then
    tally(node.stack, node.state, -1)
  end
  if node.state == 'ready' then
    call('ZREM', READY, node.stack .. ':' .. place)
  end
  if due then
    call('ZADD', TIMERS, text(due), place)
  elseif node.due then
    call('ZREM', TIMERS, place)
  end
  node.state, node.due = state, due
  if not is_finished(node) then
    tally(node.stack, state, 1)
  end
  if state == 'ready' then
    call('ZADD', READY, 0, node.stack .. ':' .. place)
    woken[node.stack] = true
  end
end

-- A suspended parent is ready when this was the last of its children.
local function child_ended(place)
  local parent = load(place)
  if not parent or parent.state ~= 'suspended' then
    return
  end
  parent.pending = parent.pending - 1
  if parent.pending <= 0 then
    parent.resumes = true
    stand(place, parent, 'ready')
  end
  save(place, parent)
end

local function finish(place, node, state)
  node.finished, node.worker, node.resumes = NOW, nil, nil
  if state == 'failed' then
    node.nonce = nil
  end
  stand(place, node, state)
  save(place, node)
  if node.parent then
    child_ended(node.parent)
  else
    call('ZADD', FINISHED, text(NOW), place)
  end
end

-- Keeps what went wrong, and by which claim.
local function note_failure(place, node, message, nonce)
  local packed = call('HGET', ATTEMPTS, place)
  local attempts = packed and cmsgpack.unpack(packed) or { errors = {}, nonces = {} }
  table.insert(attempts.errors, { node.attempt, text(NOW), message })
  if #attempts.errors > KEPT_ERRORS then
    table.remove(attempts.errors, 1)
  end
  if nonce then
    table.insert(attempts.nonces, nonce)
  end
  call('HSET', ATTEMPTS, place, cmsgpack.pack(attempts))
end

-- After a failed attempt: another one, or the end.
local function retry(place, node, wait)
  node.resumes, node.worker, node.nonce = nil, nil, nil
  if node.attempt >= node.max_attempts then
    finish(place, node, 'failed')
    return
  end
  if wait > 0 then
    stand(place, node, 'delayed', NOW + wait)
    tell_timer(place)
  else
    stand(place, node, 'ready')
  end
  save(place, node)
end

local function ring_timer(place)
  local node = load(place)
  if not node then
    call('ZREM', TIMERS, place)
  elseif node.state == 'running' then
    note_failure(place, node, 'lease expired')
    retry(place, node, 0)
  else
    stand(place, node, 'ready')
    save(place, node)
  end
end

local function erase(place, node)
  for _, key in ipairs({ NODES, PAYLOADS, RESULTS, ATTEMPTS }) do
    call('HDEL', key, place)
  end
  call('HDEL', IDS, node.id)
  call('ZREM', STACKED, node.stack .. ':' .. place)
  call('ZREM', ORDER, place)
  call('ZREM', FINISHED, place)
  if node.parent then
    call('ZREM', CHILDREN, node.parent .. ':' .. place)
  end
end

-- The places of a task's children in the order pushed.
local function children_of(place, limit)
  local from, to = '[' .. place .. ':', '(' .. place .. ';'
  local members
  if limit then
    members = call('ZRANGEBYLEX', CHILDREN, from, to, 'LIMIT', 0, limit)
  else
    members = call('ZRANGEBYLEX', CHILDREN, from, to)
  end
  for index, member in ipairs(members) do
    members[index] = string.sub(member, #place + 2)
  end
  return members
end

-- Forgets trees whose root has been finished for longer than the retention, children first.
local function forget()
  local path = {}
  for _ = 1, STEP do
    if #path == 0 then
      local limit = text(NOW - RETENTION)
      path = call('ZRANGEBYSCORE', FINISHED, '-inf', limit, 'LIMIT', 0, 1)
    end
    if #path == 0 then
      return
    end
    local child = children_of(path[#path], 1)[1]
    if child then
      table.insert(path, child)
    else
      local place = table.remove(path)
      local node = load(place)
      if node then
        erase(place, node)
      else
        call('ZREM', FINISHED, place)
      end
    end
  end
end

-- Lets happen what is due. Answers whether there is more to do before anything else.
local function advance()
  local due = call('ZRANGEBYSCORE', TIMERS, '-inf', text(NOW), 'LIMIT', 0, STEP)
  for _, place in ipairs(due) do
    ring_timer(place)
  end
  forget()
  return #due == STEP
end

-- Microseconds until something is due; -1 when nothing is.
local function next_timer()
  local first = call('ZRANGE', TIMERS, 0, 0, 'WITHSCORES')
  if not first[2] then
    return -1
  end
  return math.max(0, math.floor(tonumber(first[2]) - NOW))
end

-- A task for the caller: its fields in a fixed order, false for none.
local function show(place, node)
  local packed = call('HGET', ATTEMPTS, place)
  local errors = packed and cmsgpack.unpack(packed).errors or {}
  local result = call('HGET', RESULTS, place)
  local parent = node.parent and load(node.parent)
  return {
    place, node.id, node.stack, node.kind, call('HGET', PAYLOADS, place), node.content_type,
    node.state, node.attempt, node.max_attempts, parent and parent.id or false, node.depth,
    text(node.created), node.by,
    node.state == 'delayed' and text(node.due) or false,
    node.worker or false, node.finished and text(node.finished) or false,
    result and { node.result_type, result } or false, errors,
  }
end

if advance() then
  ring()
  return 'AGAIN'
end
