-- Makes a follower, or finds it. ARGV: 2 its name; 3 where it begins (`oldest`, `head` or `at`); 4
-- to 6 the cursor where it begins; 7 its largest lag or ''. Answers the ends of the log, why the
-- cursor is lost if it is, and the follower.
local ends = extent()
local name, start = ARGV[2], ARGV[3]

local function begin()
  if start == 'oldest' then
    return ends.oldest, ends.oldest_stamp
  elseif start == 'head' then
    return ends.head, ends.stamp
  end
  local position = tonumber(ARGV[5])
  return position, ARGV[6], lost(ends, ARGV[4], position, ARGV[6], false)
end

local known = find(name)
if not known or known.lost then
  local position, stamp, why = begin()
  if why then
    return { told(ends), why }
  end
  local max_lag = ARGV[7] ~= '' and ARGV[7]
  known = { position = position, stamp = stamp, max_lag = max_lag, lost = false, at = text(now()) }
  keep(name, known)
end
return { told(ends), '', shown(name, known) }
