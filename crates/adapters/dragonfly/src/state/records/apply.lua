-- Applies transactions, one after the other: looks at every key of one, refuses or plans, then
-- writes.
--
-- KEYS: as for commits; 5 the outbox; then for each transaction, unless it is a put that comes
-- alone, its op_id, and for each of its writes the record, its versions and the index of its kind.
-- ARGV: for each such transaction `*`, by, op_id or '', fingerprint, the op_id's window in
-- milliseconds, the largest content, the number of writes and that of messages; WIDTH for each
-- write; for each message its ordering key, whether it has one, its properties and its body. Where messages are
-- delivered into the groups of the same store (`deliver` is there), there is one transaction, and
-- keys and arguments end with those of its batch.
-- Answers for each transaction what became of it.
local OUTBOX = KEYS[5]
local WIDTH, MESSAGE = 9, 4

-- The transaction whose keys begin at `k` and whose arguments at `a`.
local function transaction_at(k, a)
  local writes, messages = tonumber(ARGV[a + 6]), tonumber(ARGV[a + 7])
  return {
    op = KEYS[k], by = ARGV[a + 1], op_id = ARGV[a + 2], fingerprint = ARGV[a + 3],
    window = ARGV[a + 4], max_data = tonumber(ARGV[a + 5]), writes = writes, messages = messages,
    write_keys = k + 1, write_args = a + 8, message_args = a + 8 + writes * WIDTH,
    next_key = k + 1 + writes * 3, next_arg = a + 8 + writes * WIDTH + messages * MESSAGE,
  }
end

-- The same of a put that came alone.
local function alone_at(k, a)
  local precondition, by, kind, id, content_type, schema, data = unpack(ARGV, a, a + 6)
  local only = {
    key = { record = KEYS[k], versions = KEYS[k + 1], index = KEYS[k + 2], kind = kind, id = id },
    operation = 'put', precondition = precondition, data = data, content_type = content_type,
    schema = schema ~= '' and string.sub(schema, 2), argument = '', by = by,
  }
  return { by = by, op_id = '', writes = 1, messages = 0, only = only }
end

local function write_at(transaction, index)
  if transaction.only then
    return transaction.only
  end
  local keys = transaction.write_keys + (index - 1) * 3
  local from = transaction.write_args + (index - 1) * WIDTH
  return {
    key = {
      record = KEYS[keys], versions = KEYS[keys + 1], index = KEYS[keys + 2],
      kind = ARGV[from], id = ARGV[from + 1],
    },
    operation = ARGV[from + 2], precondition = ARGV[from + 3], data = ARGV[from + 4],
    content_type = ARGV[from + 5], schema = ARGV[from + 6] == '1' and ARGV[from + 7],
    -- The lifetime of a put in microseconds, or which version a rollback takes.
    argument = ARGV[from + 8], by = transaction.by, max_data = transaction.max_data,
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
  local created_at, created_by = AT, write.by
  if is_live(current, NOW) then
    created_at, created_by = current.is[CREATED_AT], current.is[CREATED_BY]
  end
  return {
    LIVE, write.content_type, write.schema, created_at, created_by, AT, write.by, false, false,
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
    if size > write.max_data then
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
local function plan(transaction, floor)
  local planned, conflicts, refused = {}, { 'conflicts' }, nil
  for index = 1, transaction.writes do
    local write = write_at(transaction, index)
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
    local is = tombstone(DELETED, current.is, request.by)
    return write(commit, request.key, current, next_version(above), 'delete', is)
  end
  return current.version
end

-- Puts the messages at the end of the outbox.
local function post(transaction)
  local messages = transaction.messages
  if messages == 0 then
    return
  end
  local last = call('HINCRBY', META, 'outbox', text(messages)) - messages
  for index = 1, messages do
    local from = transaction.message_args + (index - 1) * MESSAGE
    local fields = { 'a', AT, 'p', ARGV[from + 2], 'b', ARGV[from + 3] }
    if ARGV[from + 1] == '1' then
      fields[#fields + 1] = 'k'
      fields[#fields + 1] = ARGV[from]
    end
    call('XADD', OUTBOX, text(last + index) .. '-0', unpack(fields))
  end
  call('PUBLISH', OUTBOX, '')
end

-- The first answer to this op_id, or that it belongs to another transaction.
local function repeated(transaction)
  local known = transaction.op_id ~= '' and call('GET', transaction.op)
  if not known then
    return nil
  end
  local first = cmsgpack.unpack(known)
  if first.fingerprint ~= transaction.fingerprint then
    return { 'taken' }
  end
  return { 'replayed', unpack(first.answer) }
end

-- Whether it needs a commit: a check alone, or a delete of nothing, changes nothing.
local function commits(transaction, planned)
  local does = transaction.op_id ~= '' or deliver or transaction.messages > 0
  for index = 1, transaction.writes do
    does = does or adds(planned[index])
  end
  return does
end

-- Carries out what is planned; answers the versions after the commit and its time.
local function carry_out(transaction, commit, planned, floor)
  local answer = { commit.commit, AT }
  for index = 1, transaction.writes do
    answer[index + 2] = execute(commit, planned[index], floor)
  end
  if deliver then
    deliver.all()
  else
    post(transaction)
  end
  if transaction.op_id ~= '' then
    local first = cmsgpack.pack({ fingerprint = transaction.fingerprint, answer = answer })
    call('SET', transaction.op, first, 'PX', transaction.window)
  end
  return { 'applied', unpack(answer) }
end

local function apply(transaction, commit)
  local first = repeated(transaction)
  if first then
    return first
  end
  local planned, refusal = plan(transaction, commit.floor)
  if refusal then
    return refusal
  end
  local undelivered = deliver and deliver.refuses(transaction.next_key, transaction.next_arg)
  if undelivered then
    return undelivered
  end
  if not commits(transaction, planned) then
    local answer = { 'applied', commit.commit, AT }
    for index = 1, transaction.writes do
      answer[index + 3] = version_now(planned[index].current, NOW)
    end
    return answer
  end
  next_commit(commit, transaction.by, transaction.op_id ~= '' and transaction.op_id)
  return carry_out(transaction, commit, planned, commit.floor)
end

return {
  apply = apply, transaction_at = transaction_at, alone_at = alone_at, delivers = deliver ~= nil,
}
