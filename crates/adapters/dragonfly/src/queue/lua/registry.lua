-- Answers the epoch, and of each group its name and `id spec`. KEYS: meta, groups.
local answer = call('HGETALL', KEYS[2])
table.insert(answer, 1, call('HGET', KEYS[1], 'epoch') or '')
return answer
