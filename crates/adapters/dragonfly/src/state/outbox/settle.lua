-- Settles entries that wait. ARGV: the number of the lease; then for each its place, whether it is
-- parked, and why. Answers whether the lease held.
if not is_held(ARGV[1], now()) then
  return ''
end
for at = 2, #ARGV, 3 do
  local place, parked, reason = ARGV[at], ARGV[at + 1] == '1', ARGV[at + 2]
  local entry = not call('ZSCORE', PARKED, place) and entry_at(place)
  if entry and parked then
    call('ZADD', PARKED, place, place)
    call('HSET', REASONS, place, reason)
    if entry.k then
      call('ZADD', BLOCKS, '0', block_of(entry.k, place))
    end
  elseif entry then
    call('XDEL', OUTBOX, id_of(place))
  end
end
return '1'
