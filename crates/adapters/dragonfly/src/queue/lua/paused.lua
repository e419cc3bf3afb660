-- Answers of each group whose state is among the KEYS whether it is paused.
local answer = {}
for number, key in ipairs(KEYS) do
  answer[number] = call('HEXISTS', key, 'paused')
end
return answer
