-- What one look shows of records. KEYS: the records. Answers for each its version, what it is (packed)
-- and the content that lies in it.
local found = {}
for index, record in ipairs(KEYS) do
  found[index] = call('HMGET', record, 'v', 'c', 'd')
end
return found
