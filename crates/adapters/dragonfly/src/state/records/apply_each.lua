end

local answers, commit, count = {}, begin(counters()), 0
local k, a, others = 6, 1, nil

-- Applies the next transaction; answers whether that went well, and what became of it or the error.
local function apply_next()
  local is_alone, at_k, at_a = ARGV[a] ~= '*', k, a
  if is_alone then
    k, a = k + ALONE_KEYS, a + ALONE_ARGS
    local well, answer = pcall(put_alone, commit, at_k, at_a)
    if answer or not well then
      return well, answer
    end
  end
  others = others or everything()
  local transaction
  if is_alone then
    transaction = others.alone_at(at_k, at_a)
  else
    transaction = others.transaction_at(at_k, at_a)
    k, a = transaction.next_key, transaction.next_arg
  end
  return pcall(others.apply, transaction, commit)
end

local delivers
repeat
  local well, answer = apply_next()
  delivers = others and others.delivers
  count = count + 1
  if not well then
    local said = type(answer) == 'table' and answer.err or tostring(answer)
    if delivers or a > #ARGV and count == 1 or string.find(said, '^READONLY') then
      finish(commit)
      return redis.error_reply(said)
    end
    -- What fails is the failure of one.
    answer = { 'failed', said }
  end
  answers[count] = answer
until delivers or a > #ARGV
finish(commit)
return answers
