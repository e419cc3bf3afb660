-- Applies a transaction: looks at every key, refuses or plans, then writes.
--
-- KEYS: as for commits; 5 the outbox, 6 the op_id; then for each write the record, its versions and
-- the index of its kind.
-- ARGV: by, op_id or '', fingerprint, the op_id's window in milliseconds, the largest content, the
-- number of writes; WIDTH for each write; then for each message its ordering key, whether it has
-- one, its properties and its body. Where the messages are delivered into the groups of the same
-- store (`deliver` is there), keys and arguments end with those of their batch instead.
local OUTBOX, OP = KEYS[5], KEYS[6]
local BY, OP_ID, FINGERPRINT, WINDOW, MAX_DATA = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local WRITES = tonumber(ARGV[6])
local WIDTH = 9
local MESSAGES = 6 + WRITES * WIDTH

local function write_at(index)
  local from, keys = 6 + (index - 1) * WIDTH, 6 + (index - 1) * 3
  return {
    key = {
      record = KEYS[keys + 1], versions = KEYS[keys + 2], index = KEYS[keys + 3],
      kind = ARGV[from + 1], id = ARGV[from + 2],
    },
    operation = ARGV[from + 3], precondition = ARGV[from + 4], data = ARGV[from + 5],
    content_type = ARGV[from + 6], schema = ARGV[from + 7] == '1' and ARGV[from + 8],
    -- The lifetime of a put in microseconds, or which version a rollback takes.
    argument = ARGV[from + 9],
  }
end

-- Whether the precondition of a write holds.
local function holds(write, current)
  if write.precondition == 'none' then
    return true
  end
  local live = is_live(current, NOW)
  if write.precondition == 'absent' then
    return not live
  end
  return live and write.precondition == version_now(current, NOW)
end

-- Whether the next version can be counted, after the tombstone of an expired one.
local function has_room(current, floor)
  local last = current.version
  if not current.is then
    last = floor
  elseif has_expired(current, NOW) then
    last = version_now(current, NOW)
  end
  return last ~= LAST
end

-- What a version with content is.
local function content(write, current, size)
  local created_at, created_by = AT, BY
  if is_live(current, NOW) then
    created_at, created_by = current.is[CREATED_AT], current.is[CREATED_BY]
  end
  return {
    LIVE, write.content_type, write.schema, created_at, created_by, AT, BY, false, false,
    false, text(size), false,
  }
end

local function put(write, current)
  local is = content(write, current, #write.data)
  if write.argument ~= '' then
    is[EXPIRES] = text(NOW + tonumber(write.argument))
    is[EXPIRES_AT] = is[EXPIRES] .. '000'
  end
  return { is = is, data = write.data }
end

local function append(write, current)
  local is = content(write, current, #write.data)
  is[APPENDED] = '1'
  if is_live(current, NOW) then
    local before = current.is
    local size = tonumber(before[SIZE]) + #write.data
    if size > MAX_DATA then
      return { refused = { 'large', text(size) } }
    end
    is[CONTENT_TYPE], is[SCHEMA] = before[CONTENT_TYPE], before[SCHEMA]
    is[EXPIRES_AT], is[EXPIRES] = before[EXPIRES_AT], before[EXPIRES]
    is[BASE], is[SIZE] = before[BASE], text(size)
  end
  return { is = is, data = write.data }
end

local function rollback(write, current)
  local newest, wanted = version_now(current, NOW), write.argument
  if wanted == 'previous' then
    wanted = newest == '0' and '0' or beside(newest, -1)
  end
  if not current.is or below(wanted, current.first) or below(newest, wanted) then
    return { refused = { 'never', wanted } }
  end
  if below(current.version, wanted) then
    return { deletes = true }
  end
  local earlier = version_of(write.key.record, wanted)
  if not earlier then
    return { refused = { 'pruned', wanted } }
  end
  if earlier[LIFE] ~= LIVE then
    return { deletes = true }
  end
  write.content_type, write.schema = earlier[CONTENT_TYPE], earlier[SCHEMA]
  local data = content_of(write.key.record, wanted, earlier)
  return { is = content(write, current, #data), data = data }
end

-- What a write comes to: nothing, a tombstone unless the key is absent, or a version.
local function effect(write, current, floor)
  local gone = current.is and current.is[LIFE] ~= LIVE
  local adds = write.operation ~= 'check' and not (write.operation == 'delete' and (gone or not current.is))
  if adds and not has_room(current, floor) then
    return { refused = { 'full', version_now(current, NOW) } }
  end
  if write.operation == 'put' then
    return put(write, current)
  elseif write.operation == 'append' then
    return append(write, current)
  elseif write.operation == 'rollback' then
    return rollback(write, current)
  end
  return { deletes = write.operation == 'delete' }
end

-- Decides what each write does. Conflicts come before other reasons to refuse.
local function plan(floor)
  local planned, conflicts, refused = {}, { 'conflicts' }, nil
  for index = 1, WRITES do
    local write = write_at(index)
    local current = current_of(write.key.record)
    if holds(write, current) then
      local comes_to = effect(write, current, floor)
      if comes_to.refused and not refused then
        refused = { 'refused', text(index - 1), comes_to.refused[1], comes_to.refused[2] }
      end
      planned[index] = { write = write, current = current, effect = comes_to }
    else
      local live = is_live(current, NOW) and '1' or ''
      for _, part in ipairs({ text(index - 1), version_now(current, NOW), live }) do
        conflicts[#conflicts + 1] = part
      end
    end
  end
  return planned, #conflicts > 1 and conflicts or refused
end

-- Whether carrying it out adds a version.
local function adds(item)
  return item.effect.is or (item.effect.deletes and item.current.is and item.current.is[LIFE] == LIVE)
end

-- Carries out what is planned for one write; answers its key's version.
local function execute(commit, item, floor)
  local request, current, comes_to = item.write, item.current, item.effect
  if not comes_to.is and not comes_to.deletes then
    return version_now(current, NOW)
  end
  if has_expired(current, NOW) and current.version ~= LAST then
    expire(commit, request.key, current)
  end
  local above = current.is and current.version or floor
  if comes_to.is then
    local version = next_version(above)
    comes_to.is[BASE] = comes_to.is[BASE] or version
    return write(commit, request.key, current, version, request.operation, comes_to.is, comes_to.data)
  end
  if is_live(current, NOW) then
    local is = tombstone(DELETED, current.is, BY)
    return write(commit, request.key, current, next_version(above), 'delete', is)
  end
  return current.version
end

-- Puts the messages at the end of the outbox.
local function post()
  local messages = (#ARGV - MESSAGES) / 4
  if messages == 0 then
    return
  end
  local last = call('HINCRBY', META, 'outbox', text(messages)) - messages
  for index = 1, messages do
    local from = MESSAGES + (index - 1) * 4
    local fields = { 'a', AT, 'p', ARGV[from + 3], 'b', ARGV[from + 4] }
    if ARGV[from + 2] == '1' then
      fields[#fields + 1] = 'k'
      fields[#fields + 1] = ARGV[from + 1]
    end
    call('XADD', OUTBOX, text(last + index) .. '-0', unpack(fields))
  end
  call('PUBLISH', OUTBOX, '')
end

-- The first answer to this op_id, or that it belongs to another transaction.
local function repeated()
  local known = OP_ID ~= '' and call('GET', OP)
  if not known then
    return nil
  end
  local first = cmsgpack.unpack(known)
  if first.fingerprint ~= FINGERPRINT then
    return { 'taken' }
  end
  return { 'replayed', unpack(first.answer) }
end

local function apply()
  local counted = counters()
  local planned, refusal = plan(counted.floor)
  if refusal then
    return refusal
  end
  local undelivered = deliver and deliver.refuses(6 + WRITES * 3 + 1, MESSAGES + 1)
  if undelivered then
    return undelivered
  end
  local answer, writes = { text(counted.commit), AT }, #ARGV > MESSAGES
  for index = 1, WRITES do
    writes = writes or adds(planned[index])
  end
  if not writes and OP_ID == '' then
    for index = 1, WRITES do
      answer[index + 2] = version_now(planned[index].current, NOW)
    end
    return { 'applied', unpack(answer) }
  end
  local commit = begin(counted, BY, OP_ID ~= '' and OP_ID)
  answer[1] = commit.commit
  for index = 1, WRITES do
    answer[index + 2] = execute(commit, planned[index], counted.floor)
  end
  if deliver then
    deliver.all()
  else
    post()
  end
  finish(commit)
  if OP_ID ~= '' then
    local first = cmsgpack.pack({ fingerprint = FINGERPRINT, answer = answer })
    call('SET', OP, first, 'PX', WINDOW)
  end
  return { 'applied', unpack(answer) }
end

return repeated() or apply()
