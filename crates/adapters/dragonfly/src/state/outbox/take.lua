-- Takes the lease. ARGV: the owner, how long in microseconds. Answers its number; nothing while
-- another owner holds it.
local known = call('HMGET', LEASE, 'owner', 'until')
local at = now()
if known[1] and known[1] ~= ARGV[1] and tonumber(known[2]) > at then
  return false
end
local fence = text(call('HINCRBY', LEASE, 'fence', '1'))
call('HSET', LEASE, 'owner', ARGV[1], 'until', text(at + tonumber(ARGV[2])))
return fence
