-- What was accepted before, and what is counted, while messages are taken in.

local function in_parts(command, key, values)
  for from = 1, #values, 1000 do
    call(command, key, unpack(values, from, math.min(from + 999, #values)))
  end
end

-- What was accepted within the window, by idempotency key. Two hashes take turns, each for a
-- window, under the number of its turn; one that has had its turn is dropped as a whole.
local accepted = { known = {}, new = {}, news = 0 }

local function accepted_at(k, window, at, keys)
  local this, since = math.floor(at / window), at - window
  accepted.key = KEYS[k + this % 2]
  for turn = this, this - 1, -1 do
    local key = KEYS[k + turn % 2]
    for from = 1, #keys, 1000 do
      local last = math.min(from + 999, #keys)
      local found = call('HMGET', key, '#', unpack(keys, from, last))
      if found[1] == text(turn) then
        for number = from, last do
          local value = found[number - from + 2]
          if value and tonumber(string.sub(value, 25, 40)) > since then
            accepted.known[keys[number]] = accepted.known[keys[number]] or value
          end
        end
      elseif turn == this then
        call('UNLINK', key)
        call('HSET', key, '#', text(turn))
      end
    end
  end
end

local function accept(key, value)
  accepted.known[key] = value
  local list, count = accepted.new, accepted.news
  list[count + 1] = key
  list[count + 2] = value
  accepted.news = count + 2
end

-- What was accepted before under the same idempotency key, as an answer.
local function repeated(earlier, value)
  local same = string.sub(earlier, 17, 24) == string.sub(value, 17, 24)
  return (same and 'D' or 'C') .. earlier
end

-- A batch, with what is counted in the namespace; nothing when its groups are of another epoch.
local function counted(epoch)
  local meta = call('HMGET', META, 'epoch', 'seq', 'heard', 'cast')
  if (meta[1] or '') ~= epoch then
    return nil
  end
  local at, cast = now(), tonumber(meta[4] or 0)
  return {
    now = at, seq = tonumber(meta[2] or 0), cast = cast, last_cast = cast,
    heard = meta[3] and tonumber(meta[3]) > at,
  }
end

-- Tells a message to those who listen without a group. It has a number also when there are none,
-- so that whoever was taken for gone can know what it did not hear.
local function cast(batch, seq, delay, ttl, body)
  batch.cast = batch.cast + 1
  if batch.heard then
    local times = table.concat({ text(batch.cast), seq, text(delay), text(ttl) }, ':')
    call('PUBLISH', META .. ':cast', times .. ':' .. body)
  end
end

-- Writes down what was counted.
local function count_up(batch)
  if batch.cast > batch.last_cast then
    local last = text(batch.cast)
    call('HSET', META, 'seq', text(batch.seq), 'cast', last, batch.heard and 'cast' or 'unheard', last)
  end
end
