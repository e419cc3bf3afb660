  queue_at(1)
  return group_at(4, ARGV[1]), tidy, wrap_up
end

local state = call('HMGET', STATE, 'name', 'paused')
if not state[1] then
  return { 'GONE' }
end
if state[2] then
  return { 'NOTHING', '' }
end
local at = now()
local group, tidy, wrap_up
local lease_ends, delay_ends, expires = first_of(LEASED), first_of(DELAYED), first_of(EXPIRY)
-- Whether those who wait look now by themselves, as they were told when this would be.
local expected = lease_ends and lease_ends <= at or delay_ends and delay_ends <= at
if expected or expires and expires <= at then
  group, tidy, wrap_up = everything()
  if not tidy(group, at) then
    wrap_up(group)
    return { 'AGAIN' }
  end
  lease_ends, delay_ends = first_of(LEASED), first_of(DELAYED)
end
local event = lease_ends and delay_ends and math.min(lease_ends, delay_ends) or lease_ends or delay_ends
local leased, seqs = take()
if group then
  -- Only now: nobody is woken for what is taken here.
  wrap_up(group)
end
if #leased == 0 then
  return { 'NOTHING', event and text(math.max(event - at, 0)) or '' }
end
local answer = hand_out(leased, seqs, text(at + lease))
if not expected and (not event or at + lease <= event) then
  -- The lease will end earlier than those who wait may expect.
  call('PUBLISH', STATE .. ':ready', '')
end
return answer
