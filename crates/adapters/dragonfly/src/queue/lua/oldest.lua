-- Answers for how many microseconds the oldest ready message has been due; nothing without one.
local oldest
for rank = 0, 9 do
  local from, to = text(rank * RANK), '(' .. text((rank + 1) * RANK)
  local first = call('ZRANGEBYSCORE', group.ready, from, to, 'LIMIT', '0', '1')[1]
  if first then
    oldest = math.min(oldest or at, due(read(first)))
  end
end
local waiting = call('ZRANGE', group.oldest, '0', '0', 'WITHSCORES')
if waiting[2] then
  oldest = math.min(oldest or at, tonumber(waiting[2]))
end
return { 'AGE', oldest and text(at - oldest) or '' }
