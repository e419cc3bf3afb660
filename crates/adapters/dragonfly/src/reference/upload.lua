-- Stores some chunks of an upload: pairs of number and chunk. The whole expires by itself when
-- nobody goes on with it.
local UPLOAD, seconds = KEYS[1], ARGV[1]
for at = 2, #ARGV, 2 do
  call('HSET', UPLOAD, ARGV[at], ARGV[at + 1])
end
call('EXPIRE', UPLOAD, seconds)
return 1
