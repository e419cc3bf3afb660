-- Handing messages out.
--
-- KEYS  meta, body, shares; twelve of the group
-- ARGV  what it promises, the most messages, the most bytes, the lease in microseconds, the nonce
--
-- Answers GONE without the group, AGAIN when it is to be tidied further first; LEASED, and of each
-- message its word and its stored form; NOTHING, and in how many microseconds that may change.
queue_at(1)
local group = group_at(4, ARGV[1])
local most, most_bytes, lease, nonce = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]

-- The parts of a word: seq, then up to ttl, ttl, size, attempts, the rest.
local PARTS = '^(%d+)(:%d:%d+:)(%d+):(%d+):(%d+)(.*)$'

-- The first messages of what is ready: no more than wanted, and of no more bytes than allowed
-- unless one alone has more. Answers their words as leased, and their seqs.
local function choose()
  local leased, seqs, bytes = {}, {}, 0
  for number, word in ipairs(call('ZRANGE', group.ready, '0', text(most - 1))) do
    local seq, first, ttl, size, attempts, rest = string.match(word, PARTS)
    bytes = bytes + tonumber(size)
    if bytes > most_bytes and number > 1 then
      break
    end
    if ttl ~= '0' then
      call('ZREM', group.expiry, word)
    end
    attempts = attempts == '0' and '1' or text(tonumber(attempts) + 1)
    leased[number] = table.concat({ seq, first, ttl, ':', size, ':', attempts, rest, '|', nonce })
    seqs[number] = seq
  end
  return leased, seqs
end

local function nothing(at)
  wrap_up(group)
  local event = next_event(group)
  return { 'NOTHING', event and text(math.max(event - at, 0)) or '' }
end

-- Moves the first messages of what is ready to what is leased.
local function hand_out(leased, seqs, at)
  call('ZREMRANGEBYRANK', group.ready, '0', text(#leased - 1))
  local ends, leases = text(at + lease), {}
  for number, word in ipairs(leased) do
    leases[2 * number - 1] = ends
    leases[2 * number] = word
  end
  call('ZADD', group.leased, unpack(leases))
  local bodies = call('HMGET', BODY, unpack(seqs))
  local answer = { 'LEASED' }
  for number, word in ipairs(leased) do
    answer[2 * number] = word
    answer[2 * number + 1] = bodies[number]
  end
  set_alarm(group, at + lease)
  wrap_up(group)
  return answer
end

local state = call('HMGET', group.state, 'name', 'paused')
if not state[1] then
  return { 'GONE' }
end
local at = now()
if state[2] then
  return { 'NOTHING', '' }
end
if not tidy(group, at) then
  wrap_up(group)
  return { 'AGAIN' }
end
local leased, seqs = choose()
if #leased == 0 then
  return nothing(at)
end
return hand_out(leased, seqs, at)
