-- Adds a holder to content that is there, or makes it visible once all of its chunks are stored.
local CHUNKS, UPLOAD = KEYS[11], KEYS[12]
-- What to do when it is not there: 'look' only tells; 'inline' takes the chunks that end ARGV;
-- 'upload' takes those under the upload's key.
local how, id, holder, ttl, cache = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5] == '1'
local kind, content_type, size = ARGV[6], ARGV[7], tonumber(ARGV[8])
local compression, stored, chunks = ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11])
local quota, made = tonumber(ARGV[12]), ARGV[13]
local FIRST_CHUNK = 14

local expires = ttl and NOW + ttl
local entry = load(id)

if is_live(entry) then
  if entry.expires then
    set_expiry(id, entry, expires and math.max(entry.expires, expires))
  end
  if holder ~= '' then
    hold(id, entry, holder)
  else
    update(id, entry, entry.holders, next_use())
  end
  call('UNLINK', UPLOAD)
  return { 'again', entry.size, entry.content_type }
end
if how == 'look' then
  return { 'absent' }
end
if how == 'upload' and call('HLEN', UPLOAD) ~= chunks then
  return { 'lost' }
end

-- What has to go for the new content: what has expired, then what nobody holds, then cache
-- content. Nothing when that is not enough.
local function make_room()
  local going, left = {}, sum_of('stored_bytes')
  if entry then
    going[1], left = { id, entry }, left - entry.stored
  end
  local function spare(index, expired)
    local at = 0
    while left + stored > quota do
      local found = expired
          and call('ZRANGEBYSCORE', index, '-inf', text(NOW), 'LIMIT', at, 100)
        or call('ZRANGE', index, at, at + 99)
      for _, other in ipairs(found) do
        local candidate = load(other)
        if left + stored > quota and other ~= id and (expired or is_live(candidate)) then
          left = left - candidate.stored
          table.insert(going, { other, candidate })
        end
      end
      at = at + #found
      if #found == 0 then
        return
      end
    end
  end
  if quota then
    spare(EXPIRES, true)
    spare(UNHELD)
    spare(CACHE)
  end
  return not (quota and left + stored > quota) and going, left
end

local going, left = make_room()
if not going then
  return { 'full', left }
end
for _, one in ipairs(going) do
  drop(one[1], one[2])
end
add('evictions', #going)

if how == 'upload' then
  call('RENAME', UPLOAD, CHUNKS)
  call('PERSIST', CHUNKS)
else
  call('UNLINK', CHUNKS)
  for index = 1, chunks do
    call('HSET', CHUNKS, index - 1, ARGV[FIRST_CHUNK + index - 1])
  end
end
call('SREM', TRASH, id)
call('ZADD', IDS, 0, id)
add('entries', 1)
add('stored_bytes', stored)
add('plain_bytes', size)
local new = {
  size = size, content_type = content_type, kind = kind, compression = compression,
  stored = stored, chunks = chunks, made = made, created = NOW, cache = cache, holders = 0,
}
set_expiry(id, new, expires)
if holder ~= '' then
  hold(id, new, holder)
else
  update(id, new, 0, next_use())
end
return { 'created', #going }
