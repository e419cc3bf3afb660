-- Records. The hash of a record has `v`, its current version; `c`, what that is; `d`, its content
-- if that is small and whole, so that one command reads the record; `f`, its first version; and
-- for each version n that is kept `m<n>`, what the version is, and `d<n>`, its own part of the
-- content. The sorted set beside it has each n of which anything is stored. A version that was
-- pruned has lost its `m<n>`; its `d<n>` stays as long as later versions are built on it.

-- The places in what a version is.
local LIFE, CONTENT_TYPE, SCHEMA, CREATED_AT, CREATED_BY = 1, 2, 3, 4, 5
local UPDATED_AT, UPDATED_BY, EXPIRES_AT, EXPIRES, BASE, SIZE, APPENDED = 6, 7, 8, 9, 10, 11, 12
-- Whether the content of the current version is in `d` as well.
local TWICE = 13
-- Life: live, deleted, expired.
local LIVE, DELETED, EXPIRED = 'l', 'd', 'x'

-- How many fields are read at once.
local RUN = 1000

-- What a version is; nothing when it is not kept.
local function version_of(record, version)
  local packed = call('HGET', record, 'm' .. version)
  return packed and cmsgpack.unpack(packed)
end

-- The current version of a record; version 0 of one that is not known.
local function current_of(record)
  local known = call('HMGET', record, 'v', 'f', 'c')
  if not known[1] then
    return { version = '0' }
  end
  return { version = known[1], first = known[2], is = cmsgpack.unpack(known[3]) }
end

local function has_expired(current, at)
  local is = current.is
  return is and is[LIFE] == LIVE and is[EXPIRES] and tonumber(is[EXPIRES]) <= at
end

local function is_live(current, at)
  return current.is and current.is[LIFE] == LIVE and not has_expired(current, at)
end

-- The version as a reader sees it: with the tombstone that an expiry makes.
local function version_now(current, at)
  if has_expired(current, at) and current.version ~= LAST then
    return next_version(current.version)
  end
  return current.version
end

-- The whole content of a version: all parts from where it begins.
local function content_of(record, version, is)
  if is[BASE] == version then
    return call('HGET', record, 'd' .. version)
  end
  local parts, fields, at = {}, {}, is[BASE]
  while true do
    fields[#fields + 1] = 'd' .. at
    if #fields == RUN or at == version then
      for _, part in ipairs(call('HMGET', record, unpack(fields))) do
        parts[#parts + 1] = part
      end
      fields = {}
    end
    if at == version then
      return table.concat(parts)
    end
    at = next_version(at)
  end
end
