-- What every script may use. Lua counts in doubles here and in integers there (5.1 on Redis, 5.4
-- on Dragonfly), so a number leaves a script as text, made by `text`.

-- A whole number as text, exact below 2^53.
local function text(number)
  return string.format('%.0f', number)
end

-- The server's time in microseconds since the Unix epoch.
local function now()
  local time = call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- The elements of a table as arguments, at most a few thousand.
local unpack = table.unpack or unpack
