-- Puts dead letters back, or deletes them: ARGV[2] is `redrive` or `purge`; ARGV[3] the id of one,
-- or empty for at most ARGV[5] of those up to the name ARGV[4]. Answers how many.
local names
if ARGV[3] ~= '' then
  local id = ARGV[3]
  local found = call('ZRANGEBYLEX', group.names, '[' .. id, '[' .. id .. ';', 'LIMIT', '0', '1')
  names = { found[1] and string.sub(found[1], 17) }
else
  names = call('ZRANGEBYLEX', group.dead, '-', '[' .. ARGV[4], 'LIMIT', '0', ARGV[5])
end
for _, name in ipairs(names) do
  local seq = string.match(name, ':(%d+)$')
  local held = read(string.match(call('HGET', group.letters, seq), '^%d+ (%S+)'))
  local body = call('HGET', BODY, seq)
  call('ZREM', group.dead, name)
  call('HDEL', group.letters, seq)
  call('HDEL', group.errors, seq)
  if body then
    call('ZREM', group.names, string.sub(body, 1, 16) .. name)
  end
  if ARGV[2] == 'purge' then
    drop_body(held)
  else
    -- Due now, with its ttl and its attempts from the start.
    held.delay = math.max(at - tonumber(seq), 0)
    held.attempts = 0
    admit(group, held, at)
  end
end
wrap_up(group)
return { 'CLEARED', text(#names) }
