-- Makes a group, or finds it.
--
-- KEYS  meta, groups, state of the group if it is made
-- ARGV  name, `id spec` if it is made, the epoch then
--
-- Answers what stands under the name: `id spec`.
local known = call('HGET', KEYS[2], ARGV[1])
if known then
  return known
end
call('HSET', KEYS[2], ARGV[1], ARGV[2])
call('HSET', KEYS[3], 'name', ARGV[1])
call('HSET', KEYS[1], 'epoch', ARGV[3])
return ARGV[2]
