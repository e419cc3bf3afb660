-- Writing a version with its change, inside a commit.

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
