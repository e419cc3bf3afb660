-- Says that somebody listens, for ARGV[1] microseconds from now. KEYS: meta.
--
-- Answers the number of the last message, and of the last that was not published.
local meta = call('HMGET', KEYS[1], 'heard', 'cast', 'unheard')
local until_then = text(math.max(tonumber(meta[1] or 0), now() + tonumber(ARGV[1])))
call('HSET', KEYS[1], 'heard', until_then)
return { meta[2] or '0', meta[3] or '0' }
