-- What time does to a group: leases end, delays pass, messages expire. It is caught up with before
-- anybody looks, so that what is seen is exact, and costs three looks when there is nothing.

-- The most messages moved at once of each sort. When there are more the script is to be called
-- again, so that others are not held up.
local AT_ONCE = 256

local function past(key, at)
  return call('ZRANGEBYSCORE', key, '-inf', text(at), 'LIMIT', '0', tostring(AT_ONCE))
end

local function end_leases(group, at)
  local ended = past(group.leased, at)
  for _, word in ipairs(ended) do
    call('ZREM', group.leased, word)
    fail_attempt(group, read(word), at, 'lease expired', 0)
  end
  return #ended
end

local function pass_delays(group, at)
  local passed = past(group.delayed, at)
  for _, word in ipairs(passed) do
    call('ZREM', group.delayed, word)
    put_back(group, read(word), at, 0)
  end
  return #passed
end

local function expire_some(group, at)
  local over = past(group.expiry, at)
  for _, word in ipairs(over) do
    local held = read(word)
    call('ZREM', group.expiry, word)
    if call('ZREM', group.ready, word) == 1 then
      expire(group, held, at)
    elseif take_waiting(group, held.key .. ':' .. word) then
      expire(group, held, at, true)
    end
  end
  return #over
end

-- Catches the group up with the time; answers whether all is done.
local function tidy(group, at)
  local ended = end_leases(group, at)
  local passed = pass_delays(group, at)
  local over = expire_some(group, at)
  return ended < AT_ONCE and passed < AT_ONCE and over < AT_ONCE
end
