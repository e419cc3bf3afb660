-- Deletes at most ARGV[2] of what is ready and delayed. Answers how many.
local left = tonumber(ARGV[2])
local purged = 0

local function some(key)
  return left > 0 and call('ZRANGE', key, '0', text(left - 1)) or {}
end

local function purge(held, waited)
  if held.ttl > 0 then
    call('ZREM', group.expiry, write(held))
  end
  finish(group, held, held.attempts, waited)
  left, purged = left - 1, purged + 1
end

-- What waits behind a head goes before the head, which would let it come.
for _, member in ipairs(some(group.waiting)) do
  take_waiting(group, member)
  purge(read(string.sub(member, string.find(member, ':', 1, true) + 1)), true)
end
for _, word in ipairs(some(group.ready)) do
  call('ZREM', group.ready, word)
  purge(read(word))
end
for _, word in ipairs(some(group.delayed)) do
  call('ZREM', group.delayed, word)
  purge(read(word))
end
wrap_up(group)
return { 'PURGED', text(purged) }
