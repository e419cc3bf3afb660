-- Commits: versions with their changes, under one number. KEYS 1 to 4 are the namespace's counters,
-- the change log, the expiries and the kinds.
local META, CHANGES, EXPIRY, KINDS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

-- The most bytes of content that are stored twice.
local SMALL = 4096

-- The time of this call in microseconds, and as it is stored, in nanoseconds.
local NOW = now()
local AT = text(NOW) .. '000'

-- What is counted in the namespace: commits, changes, and the version above which new keys start.
local function counters()
  local counted = call('HMGET', META, 'commit', 'head', 'floor')
  return {
    commit = tonumber(counted[1] or '0'),
    head = tonumber(counted[2] or '0'),
    floor = counted[3] or '0',
  }
end

-- Begins with what is counted; no commit is made yet.
local function begin(counted)
  return {
    last = counted.commit, commit = text(counted.commit), began = counted.head,
    head = counted.head, floor = counted.floor,
  }
end

-- The next commit, by `by`, of the transaction `op_id` if it has one.
local function next_commit(commit, by, op_id)
  commit.last = commit.last + 1
  commit.commit, commit.by, commit.op_id, commit.made = text(commit.last), by, op_id, true
end

-- Writes down what was counted, when a commit was made.
local function finish(commit)
  if commit.head > commit.began then
    -- The time of the last change tells the log from one that was rewound and has gone on.
    call('HSET', META, 'commit', commit.commit, 'head', text(commit.head), 'stamp', AT)
    call('PUBLISH', CHANGES, '')
  elseif commit.made then
    call('HSET', META, 'commit', commit.commit)
  end
end

-- Makes `version` the current one of a record. `data` is its own part of the content, if it has
-- any; `by` is who wrote it, if not the author of the commit.
local function write(commit, key, current, version, operation, is, data, by)
  local change = {
    AT, commit.commit, key.kind, key.id, version, operation, by or commit.by, commit.op_id or false,
    text(data and #data or 0),
  }
  call('XADD', CHANGES, text(commit.head + 1) .. '-0', 'c', cmsgpack.pack(change))
  commit.head = commit.head + 1
  local twice = data and is[BASE] == version and #data <= SMALL
  is[TWICE] = twice and '1' or false
  local packed = cmsgpack.pack(is)
  local fields = { 'v', version, 'c', packed, 'd', twice and data or '', 'm' .. version, packed }
  if data then
    fields[#fields + 1] = 'd' .. version
    fields[#fields + 1] = data
  end
  if not current.is then
    current.first = current.first or version
    fields[#fields + 1] = 'f'
    fields[#fields + 1] = current.first
    call('ZADD', key.index, '0', key.id)
    call('ZADD', KINDS, '0', key.kind)
  end
  call('HSET', key.record, unpack(fields))
  call('ZADD', key.versions, '0', padded(version))
  if is[EXPIRES] then
    call('ZADD', EXPIRY, is[EXPIRES], key.kind .. '/' .. key.id)
  elseif current.is and current.is[EXPIRES] then
    call('ZREM', EXPIRY, key.kind .. '/' .. key.id)
  end
  current.version, current.is = version, is
  return version
end

-- What a tombstone is, after a live version.
local function tombstone(life, before, by)
  return {
    life, 'application/octet-stream', false, before[CREATED_AT], before[CREATED_BY], AT, by,
    false, false, '0', '0', false,
  }
end

-- Writes the tombstone of a record that has expired, by whoever wrote what expired.
local function expire(commit, key, current)
  local by = current.is[UPDATED_BY]
  local is = tombstone(EXPIRED, current.is, by)
  write(commit, key, current, next_version(current.version), 'expire', is, nil, by)
end
