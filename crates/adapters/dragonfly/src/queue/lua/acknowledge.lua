-- Settling deliveries by their words.
--
-- KEYS  meta, body, shares; twelve of each group; of each receive what is remembered of it
-- ARGV  for how many milliseconds it is remembered, number of groups; what each promises; of each
--       delivery four: `group:receive:size:action:span`, its place, its leased word, what is said
--
-- The actions: a acknowledges, n gives back after the span, d makes a dead letter, x extends by
-- the span under the nonce that is said, u gives back what nobody got.
--
-- Answers one word per delivery: OK, LOST, or the leased word that an extension made.
local remembered, count = ARGV[1], tonumber(ARGV[2])
local receives_at = 3 + count * 12

-- What is newly known of each receive: an action for each place.
local news = {}

local function note(item)
  local known = news[item.receive]
  if not known then
    known = { size = item.size, actions = {} }
    news[item.receive] = known
  end
  known.actions[item.place] = item.action
end

-- What is remembered of a receive: a letter for each place up to the last that was settled.
local function recall(receive)
  return call('GET', KEYS[receives_at + receive]) or ''
end

local function remember()
  for receive, known in pairs(news) do
    local before = known.size > 1 and recall(receive) or ''
    local actions = {}
    for place = 0, known.size - 1 do
      local action = known.actions[place]
      if not action then
        action = place < #before and string.sub(before, place + 1, place + 1) or '.'
      end
      actions[place + 1] = action
    end
    call('SET', KEYS[receives_at + receive], table.concat(actions), 'PX', remembered)
  end
end

-- A leased word of a first attempt, without ordering key and in no other group; its seq.
local PLAIN = '^(%d+):%d:%d+:%d+:%d+:1:0:|'

-- The deliveries, if all are such acknowledgements of one group that has room without end: their
-- words and the seqs of their messages.
local function plain_ones()
  if count ~= 1 or not string.find(ARGV[3], '^%d+ %a+ 0 ') then
    return nil
  end
  local words, seqs, number, seen = {}, {}, 0, {}
  local last_head, receive, size, action
  for at = 4, #ARGV, 4 do
    local head, word = ARGV[at], ARGV[at + 2]
    if head ~= last_head then
      receive, size, action = string.match(head, '^1:(%d+):(%d+):(%a)')
      last_head, receive, size = head, tonumber(receive), tonumber(size)
    end
    local seq = action == 'a' and not seen[word] and string.match(word, PLAIN)
    if not seq then
      return nil
    end
    number = number + 1
    words[number], seqs[number], seen[word] = word, seq, true
    note({ receive = receive, size = size, place = tonumber(ARGV[at + 1]), action = action })
  end
  return words, seqs
end

-- Acknowledges them, if all are still leased; else nothing is done, and there is no answer.
local function acknowledge(words, seqs)
  local leased = KEYS[6]
  if not words or call('EXISTS', KEYS[4]) == 0 then
    return nil
  end
  local at, answers = now(), {}
  for number, ends in ipairs(call('ZMSCORE', leased, unpack(words))) do
    if not ends or tonumber(ends) <= at then
      return nil
    end
    answers[number] = 'OK'
  end
  call('ZREM', leased, unpack(words))
  call('HDEL', KEYS[2], unpack(seqs))
  remember()
  return answers
end

-- What other settles take, made when one of them is asked for.
local function everything()
