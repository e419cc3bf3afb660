-- A page of entries in the order of their ids, of one holder or of all.
local kind, holder, after = ARGV[1], ARGV[2], ARGV[3]
local limit, scan = tonumber(ARGV[4]), tonumber(ARGV[5])
local index, prefix = IDS, ''
if holder ~= '' then
  index, prefix = HOLDERS, holder .. '\n'
end
local from = after ~= '' and '(' .. prefix .. after or '[' .. prefix
local found = call('ZRANGEBYLEX', index, from, '(' .. prefix .. 'g', 'LIMIT', 0, scan)
local infos, last = {}, false
for _, member in ipairs(found) do
  if #infos == limit then
    return { last, infos }
  end
  last = string.sub(member, #prefix + 1)
  local entry = load_live(last)
  if entry and (kind == '' or entry.kind == kind) then
    table.insert(infos, show(last, entry))
  end
end
return { #found == scan and last, infos }
