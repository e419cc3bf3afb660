-- A record as the cache has it, after the epoch: the ticket that lets it be filled in.
local EPOCH, RECORD = KEYS[1], KEYS[2]
local epoch = call('GET', EPOCH)
if not epoch then
  epoch = ARGV[1]
  call('SET', EPOCH, epoch)
end
local kept = call('HMGET', RECORD, 'epoch', 'version', 'data', 'meta')
if kept[1] ~= epoch or not kept[3] then
  return { epoch }
end
return { epoch, kept[2], kept[3], kept[4] }
