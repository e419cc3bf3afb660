-- A page of tasks, newest first, by the narrowest index there is.
ring()
local stack, state, parent, before = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local limit, scan, room = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])

local index, prefix = ORDER, ''
if parent ~= '' then
  local place = call('HGET', IDS, parent)
  if not place then
    return { false, {} }
  end
  index, prefix = CHILDREN, place .. ':'
elseif stack ~= '' then
  index, prefix = STACKED, stack .. ':'
end

local from = '(' .. prefix .. (before ~= '' and before or 'g')
local found = call('ZREVRANGEBYLEX', index, from, '[' .. prefix, 'LIMIT', 0, scan)
local tasks, last = {}, false
for _, member in ipairs(found) do
  if #tasks == limit or room <= 0 then
    return { last, tasks }
  end
  last = string.sub(member, #prefix + 1)
  local node = load(last)
  if (stack == '' or node.stack == stack) and (state == '' or node.state == state) then
    local shown = show(last, node)
    table.insert(tasks, shown)
    room = room - #shown[5]
  end
end
return { #found == scan and last, tasks }
