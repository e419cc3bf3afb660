-- Cancels a task and everything below it, from the top down, so that no parent is woken.
local place = call('HGET', IDS, ARGV[4])
if not place then
  return -1
end
local open, ended = { place }, 0
while #open > 0 do
  place = table.remove(open)
  local node = load(place)
  if not is_finished(node) then
    local was_suspended = node.state == 'suspended'
    finish(place, node, 'cancelled')
    ended = ended + 1
    for _, child in ipairs(was_suspended and children_of(place) or {}) do
      table.insert(open, child)
    end
  end
end
ring()
return ended
