-- How scripts reach the server while their keys are checked (`check_keys=true`): a command on a
-- key that is not in KEYS fails, as it does on Dragonfly and across the slots of a cluster.
local declared = {}
for _, key in ipairs(KEYS) do
  declared[key] = true
end

-- Where a command has its keys: the first and the last place among its arguments. -1 is the last
-- argument of all. A command without keys has none; what is not listed here has one, at the front.
local places = {
  TIME = false, PUBLISH = false, PING = false, ECHO = false, INFO = false,
  DEL = { 1, -1 }, UNLINK = { 1, -1 }, EXISTS = { 1, -1 }, TOUCH = { 1, -1 }, MGET = { 1, -1 },
  RENAME = { 1, 2 }, RENAMENX = { 1, 2 }, COPY = { 1, 2 }, SMOVE = { 1, 2 },
  LMOVE = { 1, 2 }, RPOPLPUSH = { 1, 2 }, ZRANGESTORE = { 1, 2 },
  SINTER = { 1, -1 }, SUNION = { 1, -1 }, SDIFF = { 1, -1 },
  SINTERSTORE = { 1, -1 }, SUNIONSTORE = { 1, -1 }, SDIFFSTORE = { 1, -1 },
}
for _, command in ipairs({ 'MSET', 'EVAL', 'XREAD', 'XREADGROUP', 'ZUNIONSTORE', 'SORT', 'SCAN' }) do
  places[command] = 'unchecked'
end
for _, command in ipairs({ 'OBJECT', 'XGROUP', 'XINFO' }) do
  places[command] = { 2, 2 }
end

local function call(command, ...)
  local place = places[string.upper(command)]
  if place == 'unchecked' then
    error('the key check does not know where ' .. command .. ' has its keys')
  end
  if place == nil then
    place = { 1, 1 }
  end
  if place then
    local arguments = { ... }
    local last = place[2]
    if last == -1 then
      last = #arguments
    end
    for at = place[1], last do
      if not declared[arguments[at]] then
        error('undeclared key ' .. tostring(arguments[at]) .. ' of ' .. command)
      end
    end
  end
  return redis.call(command, ...)
end
