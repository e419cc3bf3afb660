-- How many tasks of a stack are ready, delayed, running and suspended.
ring()
local counts = {}
for index, state in ipairs({ 'ready', 'delayed', 'running', 'suspended' }) do
  counts[index] = tonumber(call('HGET', COUNTS, ARGV[4] .. ':' .. state) or 0)
end
return counts
