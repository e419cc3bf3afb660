queue_at(1)
local batch = open_batch(4, 1, #ARGV)
if not batch then
  return { 'STALE' }
end
local answers = take_in_each(batch)
close_batch(batch)
return answers
