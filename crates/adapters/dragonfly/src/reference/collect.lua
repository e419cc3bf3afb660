-- Removes some of what has expired and of what nobody holds. Answers how many entries and bytes.
local is_first = ARGV[1] == '1'
local going = call('ZRANGEBYSCORE', EXPIRES, '-inf', text(NOW), 'LIMIT', 0, STEP)
if #going == 0 then
  going = call('ZRANGE', UNHELD, 0, STEP - 1)
end
local bytes = 0
for _, id in ipairs(going) do
  local entry = load(id)
  bytes = bytes + entry.stored
  drop(id, entry)
end
add('evictions', #going)
if is_first then
  add('collections', 1)
end
return { #going, bytes }
