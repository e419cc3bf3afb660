-- Takes back a message that is not due yet.
--
-- KEYS  meta, body, shares; its schedule; twelve of each of its groups
-- ARGV  the schedule as it was read, its id's bytes; what each group promises
--
-- Answers 1 when it was taken back from a group; whoever listens is told.
queue_at(1)
local schedule = call('GET', KEYS[4])
if not schedule or schedule ~= ARGV[1] then
  return 0
end
local at, taken, number = now(), 0, 0
call('DEL', KEYS[4])
for state, word in string.gmatch(schedule, '(%S+) (%S+)') do
  number = number + 1
  local group = group_at(5 + (number - 1) * PER_GROUP, ARGV[2 + number])
  local held = read(word)
  if group.state == state and due(held) > at and call('ZREM', group.delayed, word) == 1 then
    finish(group, held, 0)
    wrap_up(group)
    taken = 1
  end
end
local heard = call('HGET', META, 'heard')
if taken == 1 and heard and tonumber(heard) > at then
  call('PUBLISH', META .. ':cast', '-' .. ARGV[2])
end
return taken
