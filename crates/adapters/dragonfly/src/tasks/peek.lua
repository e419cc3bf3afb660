-- The next ready tasks of a stack.
ring()
local stack, max, room = ARGV[4], ARGV[5], tonumber(ARGV[6])
local from, to = '(' .. stack .. ':g', '[' .. stack .. ':'
local tasks = {}
for _, member in ipairs(call('ZREVRANGEBYLEX', READY, from, to, 'LIMIT', 0, max)) do
  local place = string.sub(member, #stack + 2)
  local shown = show(place, load(place))
  table.insert(tasks, shown)
  room = room - #shown[5]
  if room <= 0 then
    break
  end
end
return tasks
