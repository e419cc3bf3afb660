-- Frees the chunks of contents that are gone: the first key is the trash, each other holds the
-- chunks of the id at its place in ARGV. What was put again meanwhile is no trash any more.
for index, id in ipairs(ARGV) do
  if call('SREM', KEYS[1], id) == 1 then
    call('UNLINK', KEYS[index + 1])
  end
end
return #ARGV
