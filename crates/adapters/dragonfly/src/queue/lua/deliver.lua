-- Taking messages in inside the transaction of another script: all or none. Looked at before
-- anything is written, and written at the end.

-- What a group holds, and how much of that could be dropped, with what this batch adds.
local function measure(group, at)
  if not group.measured then
    tidy(group, at)
    group.measured = length(group)
    group.droppable = call('ZCARD', group.ready) + call('ZCARD', group.waiting)
  end
end

-- Whether a group can take one more, after those that were counted before.
local function has_room(group, head, at)
  if group.max_length == 0 then
    return true
  end
  measure(group, at)
  if group.measured >= group.max_length then
    if group.overflow ~= 'drop' or group.droppable == 0 then
      return false
    end
    group.measured, group.droppable = group.measured - 1, group.droppable - 1
  end
  group.measured = group.measured + 1
  group.droppable = group.droppable + (head.delay > 0 and 0 or 1)
  return true
end

-- Why the batch cannot be taken in as a whole: an answer as for one message that is not accepted.
local function refusal(batch)
  local seen = {}
  for at = batch.first, batch.last, 4 do
    local head, key, value = read_head(ARGV[at], batch.groups), ARGV[at + 1], ARGV[at + 2]
    local earlier = accepted.known[key] or seen[key]
    if earlier and string.sub(earlier, 17, 24) ~= string.sub(value, 17, 24) then
      return 'C' .. string.sub(earlier, 1, 24)
    end
    for _, group in ipairs(earlier and {} or head.route) do
      if not has_room(group, head, batch.now) then
        return 'F' .. text(group.number)
      end
    end
    seen[key] = value
  end
end

-- Looks at the batch whose keys begin at `k` with the shared ones, and whose arguments at `a`;
-- answers why it cannot be taken in, or nothing.
function deliver.refuses(k, a)
  queue_at(k)
  deliver.batch = open_batch(k + 3, a, #ARGV)
  if not deliver.batch then
    return { 'undelivered', 'STALE' }
  end
  local why = refusal(deliver.batch)
  if why then
    close_batch(deliver.batch)
    return { 'undelivered', why }
  end
end

function deliver.all()
  take_in_each(deliver.batch)
  close_batch(deliver.batch)
end
