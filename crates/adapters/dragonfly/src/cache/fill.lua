-- Keeps a record unless something newer is known, or all was forgotten since the ticket.
local EPOCH, RECORD = KEYS[1], KEYS[2]
local ticket, ttl, version, data, meta = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if call('GET', EPOCH) ~= ticket then
  return 0
end
local known = call('HMGET', RECORD, 'epoch', 'version')
-- Versions have leading zeros, so they compare as text.
if known[1] == ticket and known[2] > version then
  return 0
end
call('HSET', RECORD, 'epoch', ticket, 'version', version, 'data', data, 'meta', meta)
call('PEXPIRE', RECORD, ttl)
return 1
