-- Says that somebody listens, for ARGV[1] microseconds from now, and greets it with ARGV[2] if that is
-- not empty. KEYS: meta.
--
-- Answers the number of the last message, and of the last that was not published.
local meta = call('HMGET', KEYS[1], 'heard', 'cast', 'unheard')
local until_then = text(math.max(tonumber(meta[1] or 0), now() + tonumber(ARGV[1])))
call('HSET', KEYS[1], 'heard', until_then)
if ARGV[2] ~= '' then
  call('PUBLISH', KEYS[1] .. ':cast', '+' .. ARGV[2])
end
return { meta[2] or '0', meta[3] or '0' }
