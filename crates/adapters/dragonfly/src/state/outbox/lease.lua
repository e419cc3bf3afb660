-- The lease of the outbox: one relay at a time, told from earlier ones by a number that grows.
-- KEYS 1 is the lease.
local LEASE = KEYS[1]

-- Whether this is the lease that holds.
local function is_held(fence, at)
  local known = call('HMGET', LEASE, 'fence', 'until')
  return known[1] == fence and tonumber(known[2]) > at
end
