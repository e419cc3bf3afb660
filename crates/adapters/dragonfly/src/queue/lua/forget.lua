-- Drops what was accepted longer ago than the window of ARGV[1] microseconds, where nothing was
-- sent since. KEYS: the two that take turns.
local turn = math.floor(now() / tonumber(ARGV[1]))
for _, key in ipairs(KEYS) do
  local had = call('HGET', key, '#')
  if had and tonumber(had) < turn - 1 then
    call('UNLINK', key)
  end
end
return 1
