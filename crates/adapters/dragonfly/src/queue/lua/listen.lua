-- Says that somebody listens, for ARGV[1] microseconds from now. KEYS: meta.
--
-- Answers the number of the last message that could be heard, and 1 when somebody was known to
-- listen without a break until now.
local at = now()
local meta = call('HMGET', KEYS[1], 'heard', 'cast')
local heard = tonumber(meta[1] or 0)
call('HSET', KEYS[1], 'heard', text(math.max(heard, at + tonumber(ARGV[1]))))
return { meta[2] or '0', heard > at and 1 or 0 }
