-- A page of dead letters: at most ARGV[2], after the one named ARGV[4] (all when that is empty),
-- ending once it has ARGV[3] bytes. Answers whether there may be more, and of each its name, its
-- letter, its stored form and its errors.
local most, most_bytes, after = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local from = after == '' and '-' or '(' .. after
local names = call('ZRANGEBYLEX', group.dead, from, '+', 'LIMIT', '0', text(most))
local answer, bytes = { 'LETTERS', #names == most and '1' or '0' }, 0
for _, name in ipairs(names) do
  local seq = string.match(name, ':(%d+)$')
  local letter = call('HGET', group.letters, seq)
  answer[#answer + 1] = name
  answer[#answer + 1] = letter
  answer[#answer + 1] = call('HGET', BODY, seq)
  answer[#answer + 1] = call('HGET', group.errors, seq) or ''
  bytes = bytes + read(string.match(letter, '^%d+ (%S+)')).size
  if bytes >= most_bytes then
    answer[2] = '1'
    break
  end
end
return answer
