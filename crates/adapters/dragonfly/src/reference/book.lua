-- The book of a namespace's contents: every script of the reference store begins with this text
-- and is given all of these keys. Contents are named by their ids, 64 hex digits.
local ENTRIES, IDS = KEYS[1], KEYS[2]
-- "id:holder", the same as "holder\nid", and when holders expire.
local HELD, HOLDERS, HELD_UNTIL = KEYS[3], KEYS[4], KEYS[5]
-- When contents expire; what nobody holds, by its last use: cache content, and the rest.
local EXPIRES, UNHELD, CACHE = KEYS[6], KEYS[7], KEYS[8]
-- Sums over the namespace; ids without an entry whose chunks are still stored.
local SUMS, TRASH = KEYS[9], KEYS[10]

-- The most expired holders, or removed contents, that one call handles.
local STEP = 500

local NOW = now()

local function load(id)
  local packed = call('HGET', ENTRIES, id)
  return packed and cmsgpack.unpack(packed)
end

local function save(id, entry)
  call('HSET', ENTRIES, id, cmsgpack.pack(entry))
end

local function is_live(entry)
  return entry and not (entry.expires and entry.expires <= NOW)
end

local function load_live(id)
  local entry = load(id)
  return is_live(entry) and entry
end

local function add(sum, number)
  call('HINCRBY', SUMS, sum, text(number))
end

local function sum_of(sum)
  return tonumber(call('HGET', SUMS, sum) or 0)
end

-- The number of a use: each is later than all before.
local function next_use()
  return call('HINCRBY', SUMS, 'uses', 1)
end

-- Keeps an entry with its number of holders and its last use.
local function update(id, entry, holders, used)
  local index = entry.cache and CACHE or UNHELD
  if entry.holders == 0 and holders > 0 then
    call('ZREM', index, id)
    add('held', 1)
  elseif entry.holders > 0 and holders == 0 then
    add('held', -1)
  end
  entry.holders, entry.used = holders, used
  if holders == 0 then
    call('ZADD', index, text(used), id)
  end
  save(id, entry)
end

-- Adds a holder or renews it; without a time it holds for good.
local function hold(id, entry, holder, expires)
  local member = id .. ':' .. holder
  local new = call('ZADD', HELD, 0, member)
  call('ZADD', HOLDERS, 0, holder .. '\n' .. id)
  if expires then
    call('ZADD', HELD_UNTIL, text(expires), member)
  else
    call('ZREM', HELD_UNTIL, member)
  end
  update(id, entry, entry.holders + new, next_use())
end

local function forget_holder(id, holder)
  local member = id .. ':' .. holder
  call('ZREM', HOLDERS, holder .. '\n' .. id)
  call('ZREM', HELD_UNTIL, member)
  return call('ZREM', HELD, member) == 1
end

-- Removes a holder; answers whether it held.
local function let_go(id, entry, holder)
  local held = forget_holder(id, holder)
  if held then
    update(id, entry, entry.holders - 1, entry.used)
  end
  return held
end

-- Sets when content expires; never when no time is given. The caller saves it.
local function set_expiry(id, entry, expires)
  entry.expires = expires
  if expires then
    call('ZADD', EXPIRES, text(expires), id)
  else
    call('ZREM', EXPIRES, id)
  end
end

-- Removes an entry whoever holds it. Its chunks remain, as trash.
local function drop(id, entry)
  local members = call('ZRANGEBYLEX', HELD, '[' .. id .. ':', '(' .. id .. ';')
  for _, member in ipairs(members) do
    forget_holder(id, string.sub(member, #id + 2))
  end
  call('ZREM', EXPIRES, id)
  call('ZREM', entry.cache and CACHE or UNHELD, id)
  call('ZREM', IDS, id)
  call('HDEL', ENTRIES, id)
  call('SADD', TRASH, id)
  if entry.holders > 0 then
    add('held', -1)
  end
  add('entries', -1)
  add('stored_bytes', -entry.stored)
  add('plain_bytes', -entry.size)
end

-- Lets holders go whose time has passed. Answers whether there are more.
local function advance()
  local due = call('ZRANGEBYSCORE', HELD_UNTIL, '-inf', text(NOW), 'LIMIT', 0, STEP)
  for _, member in ipairs(due) do
    local id, holder = string.sub(member, 1, 64), string.sub(member, 66)
    local entry = load(id)
    if entry then
      let_go(id, entry, holder)
    else
      forget_holder(id, holder)
    end
  end
  return #due == STEP
end

-- What is known of content: its fields in a fixed order, false for none.
local function show(id, entry)
  return {
    id, entry.size, entry.content_type, entry.kind, entry.compression, entry.stored,
    text(entry.created), entry.expires and text(entry.expires) or false,
    entry.holders, entry.cache and 1 or 0, entry.chunks, entry.made,
  }
end

if advance() then
  return 'AGAIN'
end
