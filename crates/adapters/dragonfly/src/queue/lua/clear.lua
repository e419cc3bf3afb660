-- Clears away some of what a deleted group held.
--
-- KEYS  meta, body, shares; twelve of the group; doomed
-- ARGV  what it promised, its id
--
-- Answers 1 when there is more.
queue_at(1)
local group = group_at(4, ARGV[1])
local AT_ONCE = '255'

local function drop_words(key)
  local members = call('ZRANGE', key, '0', AT_ONCE)
  for _, member in ipairs(members) do
    drop_body(read(string.match(member, '%d+:%d:%d.*$')))
  end
  if #members > 0 then
    call('ZREM', key, unpack(members))
  end
  return #members > 0
end

local function drop_letters()
  local names = call('ZRANGE', group.dead, '0', AT_ONCE)
  for _, name in ipairs(names) do
    local letter = call('HGET', group.letters, string.match(name, ':(%d+)$'))
    drop_body(read(string.match(letter, '^%d+ (%S+)')))
  end
  if #names > 0 then
    call('ZREM', group.dead, unpack(names))
  end
  return #names > 0
end

if drop_words(group.ready) or drop_words(group.waiting) or drop_words(group.delayed)
  or drop_words(group.leased) or drop_letters() then
  return 1
end
call('UNLINK', group.expiry, group.oldest, group.heads, group.letters, group.names, group.errors)
call('HDEL', KEYS[16], ARGV[2])
return 0
