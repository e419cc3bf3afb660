-- Deletes a group; what it holds is cleared away later.
--
-- KEYS  meta, groups, doomed, state of the group
-- ARGV  name, id, `id spec` as it stands, the epoch then, what the group promises
--
-- Answers 1 when it was there.
if call('HGET', KEYS[2], ARGV[1]) ~= ARGV[3] then
  return 0
end
call('HDEL', KEYS[2], ARGV[1])
call('DEL', KEYS[4])
call('HSET', KEYS[1], 'epoch', ARGV[4])
call('HSET', KEYS[3], ARGV[2], ARGV[5])
call('PUBLISH', KEYS[4] .. ':ready', '')
call('PUBLISH', KEYS[4] .. ':room', '')
return 1
