end

local answers = acknowledge(plain_ones())
if answers then
  return answers
end
news = {}
return everything()
