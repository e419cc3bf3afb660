-- Pauses the group or lets it go on, as ARGV[1] says with `1` or `0`. KEYS: its state.
if call('EXISTS', KEYS[1]) == 0 then
  return 0
end
if ARGV[1] == '1' then
  call('HSET', KEYS[1], 'paused', '1')
else
  call('HDEL', KEYS[1], 'paused')
  call('PUBLISH', KEYS[1] .. ':ready', '')
end
return 1
