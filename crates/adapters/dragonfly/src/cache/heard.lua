-- Leaves a version without a record where only an older one is known, so that no record from
-- before is filled in.
local EPOCH, ttl = KEYS[1], ARGV[1]
local epoch = call('GET', EPOCH)
if not epoch then
  -- Nothing is kept, and whoever looks will get a new ticket.
  return 0
end
for index = 2, #KEYS do
  local record, version = KEYS[index], ARGV[index]
  local known = call('HMGET', record, 'epoch', 'version')
  if known[1] ~= epoch or known[2] < version then
    call('DEL', record)
    call('HSET', record, 'epoch', epoch, 'version', version)
    call('PEXPIRE', record, ttl)
  end
end
return 1
