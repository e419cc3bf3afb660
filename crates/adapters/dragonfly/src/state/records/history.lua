-- Versions that are kept, newest first. KEYS: the record, its versions. ARGV: below which version,
-- at most how many, whether with content, and after how many bytes of it to stop. Answers a list of
-- versions with what they are, and a list of contents: where each begins, and itself. The content
-- of a version is the beginning, as long as its size, of the content that begins where it does.
local record, versions = KEYS[1], KEYS[2]
local LIMIT, DATA, ROOM = tonumber(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4])
local found, contents, begun = {}, {}, {}

local function add(version, is)
  found[#found + 1] = { version, is }
  local base = is[BASE]
  if DATA and is[LIFE] == LIVE and not begun[base] then
    begun[base] = true
    contents[#contents + 1] = { base, content_of(record, version, is) }
  end
  if DATA then
    ROOM = ROOM - tonumber(is[SIZE])
  end
end

local function read(before)
  local run = math.min(RUN, LIMIT)
  while true do
    local stored = call('ZREVRANGEBYLEX', versions, before, '-', 'LIMIT', '0', text(run))
    for _, version in ipairs(stored) do
      if #found == LIMIT or ROOM <= 0 then
        return
      end
      local plain = unpadded(version)
      local is = version_of(record, plain)
      if is then
        add(plain, is)
      end
    end
    if #stored < run then
      return
    end
    before = '(' .. stored[#stored]
  end
end

read(ARGV[1] == '' and '+' or '(' .. padded(ARGV[1]))
return { found, contents }
