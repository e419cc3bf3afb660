-- Settles claims, each for itself. An item is these fields: what, place, nonce, and two more.
local FIRST, FIELDS = 4, 5

-- The wait after an attempt by a backoff of "initial factor max jitter", spread by 0 to 999,999.
local function backoff(node, spread)
  local numbers = {}
  for number in string.gmatch(node.backoff, '%d+') do
    table.insert(numbers, tonumber(number))
  end
  local growth = math.min(math.max(numbers[2], 1) ^ (node.attempt - 1), 4294967295)
  local wait = math.min(numbers[1] * growth, numbers[3])
  if numbers[4] == 1 then
    wait = wait * (0.5 + spread / 2000000)
  end
  return math.floor(wait)
end

-- Whether this very settle was done before.
local function is_repeat(what, place, node, nonce)
  if what == 'complete' then
    return node.state == 'completed' and node.nonce == nonce
  end
  if what == 'release' then
    return node.released == nonce
  end
  local packed = what == 'fail' and call('HGET', ATTEMPTS, place)
  for _, known in ipairs(packed and cmsgpack.unpack(packed).nonces or {}) do
    if known == nonce then
      return true
    end
  end
  return false
end

local acts = {}

function acts.complete(place, node, result, content_type)
  call('HSET', RESULTS, place, result)
  node.result_type = content_type
  finish(place, node, 'completed')
end

-- How it goes on: 'never', 'backoff' with its spread, or 'after' with microseconds.
function acts.fail(place, node, message, how)
  note_failure(place, node, message, node.nonce)
  local word, number = string.match(how, '^(%a+)(%d*)$')
  if word == 'never' then
    finish(place, node, 'failed')
  elseif word == 'backoff' then
    retry(place, node, backoff(node, tonumber(number)))
  else
    retry(place, node, tonumber(number))
  end
end

function acts.extend(place, node, lease, nonce)
  node.nonce = nonce
  stand(place, node, 'running', NOW + tonumber(lease))
  tell_timer(place)
  save(place, node)
end

function acts.release(place, node)
  if not node.resumed then
    node.attempt = node.attempt - 1
  end
  node.resumes, node.released = node.resumed or nil, node.nonce
  node.nonce, node.worker = nil, nil
  stand(place, node, 'ready')
  save(place, node)
end

local answers = {}
for at = FIRST, #ARGV, FIELDS do
  local what, place, nonce = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local node = load(place)
  local how = standing(node, nonce)
  if how == 'held' then
    acts[what](place, node, ARGV[at + 3], ARGV[at + 4])
    table.insert(answers, { 'settled', node.state })
  elseif node and is_repeat(what, place, node, nonce) then
    table.insert(answers, { 'settled', node.state })
  else
    table.insert(answers, { how, node and node.id or false })
  end
end
ring()
return answers
