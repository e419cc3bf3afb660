-- Changes after a cursor. ARGV: 2 to 4 the cursor, 5 at most how many. Answers the ends of the log;
-- why the cursor is lost, if it is; and the changes, each with its position first.
local ends = extent()
local position = tonumber(ARGV[3])
local why = lost(ends, ARGV[2], position, ARGV[4], false)
if why then
  return { told(ends), why }
end
local changes = {}
local from = text(position + 1) .. '-0'
for index, entry in ipairs(call('XRANGE', CHANGES, from, '+', 'COUNT', ARGV[5])) do
  changes[index] = { string.match(entry[1], '^%d+'), unpack(cmsgpack.unpack(entry[2][2])) }
end
return { told(ends), '', changes }
