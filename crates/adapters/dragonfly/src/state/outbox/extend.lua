-- Makes the lease last from now. ARGV: its number, how long in microseconds: 0 gives it back.
-- Answers whether it held.
local at = now()
if not is_held(ARGV[1], at) then
  return ''
end
call('HSET', LEASE, 'until', text(at + tonumber(ARGV[2])))
return '1'
