-- Shows the next messages: at most ARGV[2], of no more than ARGV[3] bytes unless one alone has
-- more. Answers of each its word and its stored form.
local answer, bytes = { 'SHOWN' }, 0
for _, word in ipairs(call('ZRANGE', group.ready, '0', text(tonumber(ARGV[2]) - 1))) do
  bytes = bytes + read(word).size
  if bytes > tonumber(ARGV[3]) and #answer > 1 then
    break
  end
  answer[#answer + 1] = word
  answer[#answer + 1] = call('HGET', BODY, read(word).seq)
end
return answer
