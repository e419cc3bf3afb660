-- Moves a follower on. ARGV: 2 its name, 3 to 5 the cursor. Answers the ends of the log, and why it
-- cannot: `unknown`, or why a cursor is lost.
local ends = extent()
local name, position = ARGV[2], tonumber(ARGV[4])
local known = find(name)
if not known then
  return { told(ends), 'unknown' }
elseif known.lost then
  return { told(ends), 'trimming has passed its follower; follow again' }
end
local why = lost(ends, ARGV[3], position, ARGV[5], position <= known.position)
if why then
  return { told(ends), why }
end
if position > known.position then
  known.position, known.stamp, known.at = position, ARGV[5], text(now())
  keep(name, known)
end
return { told(ends), '' }
