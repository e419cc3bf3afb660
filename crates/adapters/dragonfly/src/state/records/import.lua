-- Writes records as they are where they are newer than what is there. KEYS: as for commits; then
-- for each record itself, its versions and the index of its kind. ARGV: by; then WIDTH for each
-- record. Answers for each whether it was written.
local WIDTH = 13
local counted = counters()
local commit = begin(counted)
next_commit(commit, ARGV[1])

local function optional(given, value)
  return given == '1' and value
end

local function import(index)
  local from, keys = 1 + (index - 1) * WIDTH, 4 + (index - 1) * 3
  local key = {
    record = KEYS[keys + 1], versions = KEYS[keys + 2], index = KEYS[keys + 3],
    kind = ARGV[from + 1], id = ARGV[from + 2],
  }
  local version, life, data = ARGV[from + 3], ARGV[from + 4], ARGV[from + 13]
  local current = current_of(key.record)
  if not below(current.version, version) then
    return ''
  end
  local expires = ARGV[from + 12] ~= ''
  local is = {
    life, ARGV[from + 5], optional(ARGV[from + 6], ARGV[from + 7]), ARGV[from + 8],
    ARGV[from + 9], ARGV[from + 10], ARGV[from + 11], false, false, version, text(#data), false,
  }
  if expires then
    is[EXPIRES_AT], is[EXPIRES] = string.match(ARGV[from + 12], '^(-?%d+)/(-?%d+)$')
  end
  if not current.is then
    -- Its earlier versions were somewhere, and are not kept here.
    current.first = below(counted.floor, version) and next_version(counted.floor) or version
  end
  write(commit, key, current, version, 'import', is, life == LIVE and data or nil)
  return '1'
end

local written = {}
for index = 1, (#ARGV - 1) / WIDTH do
  written[index] = import(index)
end
if commit.head > commit.began then
  finish(commit)
end
return written
