-- Forgets versions, and keys that are tombstones. KEYS: the namespace's counters, the kinds, the
-- index of the kind; then for each key its record and its versions. ARGV: the kind; how many
-- versions stay, how long superseded ones stay and how long tombstones stay, the last two in
-- microseconds, each '' for ever; how many versions to look at before stopping; then the ids.
-- Answers how many versions and how many keys went, and how many of the keys were done.
local META, KINDS, INDEX = KEYS[1], KEYS[2], KEYS[3]
local KIND, KEEP, AGE, TOMBSTONES = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local ROOM = tonumber(ARGV[5])
local NOW = now()
local gone = { versions = 0, keys = 0 }

-- Whether something of this time, in nanoseconds, is at least this old.
local function is_old(at, age)
  return age and (tonumber(string.sub(at, 1, -4)) or 0) <= NOW - age
end

-- All that is stored of a record, oldest first: the versions, and what each is unless it was pruned.
local function stored_of(record, versions)
  local stored = {}
  local members = call('ZRANGE', versions, '0', '-1')
  for from = 1, #members, RUN do
    local fields = {}
    for at = from, math.min(from + RUN - 1, #members) do
      fields[#fields + 1] = 'm' .. unpadded(members[at])
    end
    for offset, packed in ipairs(call('HMGET', record, unpack(fields))) do
      local member = members[from + offset - 1]
      local is = packed and cmsgpack.unpack(packed)
      stored[#stored + 1] = { member = member, version = unpadded(member), is = is }
    end
  end
  return stored
end

local function forget(record, versions, id, current, stored)
  for _, item in ipairs(stored) do
    if item.is then
      gone.versions = gone.versions + 1
    end
  end
  gone.keys = gone.keys + 1
  call('DEL', record, versions)
  call('ZREM', INDEX, id)
  if call('EXISTS', INDEX) == 0 then
    call('ZREM', KINDS, KIND)
  end
  local floor = call('HGET', META, 'floor') or '0'
  if below(floor, current.version) then
    call('HSET', META, 'floor', current.version)
  end
end

-- Decides which versions stay: newest first, neither beyond KEEP nor superseded for AGE; and always
-- the current one and the latest live one.
local function choose(stored)
  local kept, above, has_live = 0, nil, false
  for at = #stored, 1, -1 do
    local item = stored[at]
    if item.is then
      local beyond = (KEEP and kept >= KEEP) or (above and is_old(above[UPDATED_AT], AGE))
      local live = item.is[LIFE] == LIVE
      item.stays = not above or not beyond or (live and not has_live)
      kept = kept + 1
      has_live = has_live or live
      above = item.is
    end
  end
end

-- Removes what does not stay, but for data that a version that stays is built on.
local function drop(record, versions, stored)
  local base
  for at = #stored, 1, -1 do
    local item = stored[at]
    if item.stays then
      base = item.is[LIFE] == LIVE and padded(item.is[BASE]) or base
    else
      if item.is then
        gone.versions = gone.versions + 1
        call('HDEL', record, 'm' .. item.version)
      end
      if not base or item.member < base then
        call('HDEL', record, 'd' .. item.version)
        call('ZREM', versions, item.member)
      end
    end
  end
end

local function prune(record, versions, id)
  local current = current_of(record)
  if not current.is then
    return
  end
  local stored = stored_of(record, versions)
  ROOM = ROOM - #stored
  if current.is[LIFE] ~= LIVE and is_old(current.is[UPDATED_AT], TOMBSTONES) then
    forget(record, versions, id, current, stored)
  elseif #stored > 1 and (KEEP or AGE) then
    choose(stored)
    drop(record, versions, stored)
  end
end

local done = 0
while ROOM > 0 and done < #ARGV - 5 do
  done = done + 1
  prune(KEYS[2 + done * 2], KEYS[3 + done * 2], ARGV[5 + done])
end
return { text(gone.versions), text(gone.keys), text(done) }
