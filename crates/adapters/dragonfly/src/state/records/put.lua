-- Puts that come alone, each the only write of a transaction without op_id and messages. That is how
-- most transactions are: this knows no more than they need, and leaves the rest to the others.
--
-- KEYS: of each its record, its versions and the index of its kind. ARGV: of each its precondition,
-- by, kind, id, content type, `=` and its schema or '', and its content.
local ALONE_KEYS, ALONE_ARGS = 3, 7

-- Carries out one whose keys begin at `k` and whose arguments at `a`: answers its commit, time and
-- version in one text. Nothing, and nothing is done, where it takes more than this knows. What a
-- version is, see there.
local function put_alone(commit, k, a)
  local precondition, by, kind, id, content_type, schema, data = unpack(ARGV, a, a + 6)
  local record = KEYS[k]
  local known = call('HMGET', record, 'v', 'c')
  local above, is_new = known[1] or commit.floor, not known[1]
  local created_at, created_by = AT, by
  if not is_new then
    local before = cmsgpack.unpack(known[2])
    if before[1] ~= 'l' or before[9] or precondition ~= 'none' and precondition ~= above then
      return nil
    end
    created_at, created_by = before[4], before[5]
  elseif precondition ~= 'none' and precondition ~= 'absent' then
    return nil
  end
  if #above > 14 then
    return nil
  end
  next_commit(commit, by)
  local version, size = text(tonumber(above) + 1), text(#data)
  local change = { AT, commit.commit, kind, id, version, 'put', by, false, size }
  call('XADD', CHANGES, text(commit.head + 1) .. '-0', 'c', cmsgpack.pack(change))
  commit.head = commit.head + 1
  local twice = #data <= SMALL
  local is = cmsgpack.pack({
    'l', content_type, schema ~= '' and string.sub(schema, 2), created_at, created_by, AT, by,
    false, false, version, size, false, twice and '1',
  })
  if is_new then
    call('ZADD', KEYS[k + 2], '0', id)
    call('ZADD', KINDS, '0', kind)
    call('HSET', record, 'f', version)
  end
  call('HSET', record, 'v', version, 'c', is, 'd', twice and data or '', 'm' .. version, is,
    'd' .. version, data)
  call('ZADD', KEYS[k + 1], '0', string.rep('0', 20 - #version) .. version)
  return commit.commit .. ' ' .. AT .. ' ' .. version
end

-- What the other transactions take, made when the first of them comes.
local function everything()
