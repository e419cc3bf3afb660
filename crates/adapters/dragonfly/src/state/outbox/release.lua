-- Lets a parked entry be sent again, or drops it. ARGV: its place, whether it is dropped. Answers
-- whether it was parked.
local place = ARGV[1]
local entry = entry_at(place)
if not entry or not free(place, entry.k) then
  return ''
end
if ARGV[2] == '1' then
  call('XDEL', OUTBOX, id_of(place))
end
-- Those behind it may be sent now.
call('PUBLISH', OUTBOX, '')
return '1'
