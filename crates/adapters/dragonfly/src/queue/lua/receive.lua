-- Handing messages out.
--
-- KEYS  meta, body, shares; twelve of the group
-- ARGV  what it promises, the most messages, the most bytes, the lease in microseconds, the nonce
--
-- Answers GONE without the group, AGAIN when it is to be tidied further first; LEASED, and of each
-- message its word and its stored form; NOTHING, and in how many microseconds that may change.
local STATE, READY, LEASED, DELAYED, EXPIRY = KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local most, most_bytes, lease, nonce = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]

-- The parts of a word: seq, then up to ttl, ttl, size, attempts, the rest.
local PARTS = '^(%d+)(:%d:%d+:)(%d+):(%d+):(%d+)(.*)$'

-- When the first of these is over; nil for never.
local function first_of(key)
  local first = call('ZRANGE', key, '0', '0', 'WITHSCORES')[2]
  return first and tonumber(first)
end

-- Puts the words back that were popped from `first` on, with their scores.
local function put_rest_back(popped, first)
  local rest, count = {}, 0
  for at = first, #popped, 2 do
    rest[count + 1], rest[count + 2] = popped[at + 1], popped[at]
    count = count + 2
  end
  call('ZADD', READY, unpack(rest))
end

-- Takes the first messages out of what is ready: no more than wanted, and of no more bytes than
-- allowed unless one alone has more. Answers their words as leased, and their seqs.
local function take()
  local leased, seqs, bytes, count = {}, {}, 0, 0
  local popped = call('ZPOPMIN', READY, text(most))
  for at = 1, #popped, 2 do
    local word = popped[at]
    local seq, first, ttl, size, attempts, rest = string.match(word, PARTS)
    bytes = bytes + size
    if bytes > most_bytes and count > 0 then
      put_rest_back(popped, at)
      break
    end
    if ttl ~= '0' then
      call('ZREM', EXPIRY, word)
    end
    count = count + 1
    attempts = attempts == '0' and '1' or text(attempts + 1)
    leased[count] = seq .. first .. ttl .. ':' .. size .. ':' .. attempts .. rest .. '|' .. nonce
    seqs[count] = seq
  end
  return leased, seqs
end

-- Leases what was taken, until `ends`.
local function hand_out(leased, seqs, ends)
  local leases, answer = {}, { 'LEASED' }
  for number, word in ipairs(leased) do
    leases[2 * number - 1], leases[2 * number] = ends, word
  end
  call('ZADD', LEASED, unpack(leases))
  local bodies = call('HMGET', KEYS[2], unpack(seqs))
  for number, word in ipairs(leased) do
    answer[2 * number], answer[2 * number + 1] = word, bodies[number]
  end
  return answer
end

-- What catching up with time takes, made when there is something to catch up with.
local function everything()
