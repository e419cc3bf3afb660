-- Leases the newest ready tasks of a stack.
local stack, worker, lease, max = ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7]
-- The nonces are made of this; the answer ends with the task that fills so many bytes.
local seed, room = ARGV[8], tonumber(ARGV[9])

-- How the children ended, in the order pushed.
local function outcomes(place)
  local list = {}
  for _, child in ipairs(children_of(place)) do
    local node = load(child)
    local result = call('HGET', RESULTS, child)
    local message = false
    if node.state == 'failed' then
      local errors = cmsgpack.unpack(call('HGET', ATTEMPTS, child)).errors
      message = errors[#errors][3]
    end
    local answer = result and { node.result_type, result } or false
    table.insert(list, { node.id, node.state, answer, message })
  end
  return list
end

local from, to = '(' .. stack .. ':g', '[' .. stack .. ':'
local newest = call('ZREVRANGEBYLEX', READY, from, to, 'LIMIT', 0, max)
local claims = {}
for index, member in ipairs(newest) do
  local place = string.sub(member, #stack + 2)
  local node = load(place)
  node.resumed, node.resumes = node.resumes or false, nil
  if not node.resumed then
    node.attempt = node.attempt + 1
  end
  node.released = nil
  node.worker, node.nonce = worker, seed .. string.format('%x', index)
  stand(place, node, 'running', NOW + lease)
  save(place, node)
  local shown = show(place, node)
  table.insert(claims, { shown, node.nonce, outcomes(place) })
  room = room - #shown[5]
  if room <= 0 then
    break
  end
end
ring()
local left = call('ZREVRANGEBYLEX', READY, from, to, 'LIMIT', 0, 1)
return { next_timer(), #left, claims }
