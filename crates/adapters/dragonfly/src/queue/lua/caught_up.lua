-- How each script begins that looks after one group: it is there, and caught up with the time.
--
-- KEYS  meta, body, shares; twelve of the group
-- ARGV  what it promises, and what the script itself asks for
--
-- Answers GONE without the group, AGAIN when it is to be tidied further first.
queue_at(1)
local group = group_at(4, ARGV[1])
if not exists(group) then
  return { 'GONE' }
end
local at = now()
local caught_up = tidy(group, at)
wrap_up(group)
group = group_at(4, ARGV[1])
if not caught_up then
  return { 'AGAIN' }
end
