-- Followers: durable named cursors. KEYS 3 is the hash of all of them.
local FOLLOWERS = KEYS[3]

local function follower_of(packed)
  local is = cmsgpack.unpack(packed)
  return { position = tonumber(is[1]), stamp = is[2], max_lag = is[3], lost = is[4], at = is[5] }
end

local function find(name)
  local packed = call('HGET', FOLLOWERS, name)
  return packed and follower_of(packed)
end

local function keep(name, is)
  local packed = cmsgpack.pack({ text(is.position), is.stamp, is.max_lag, is.lost, is.at })
  call('HSET', FOLLOWERS, name, packed)
end

-- A follower as an answer: name, position, time, whether it is lost, when it last moved.
local function shown(name, is)
  return { name, text(is.position), is.stamp, is.lost and '1' or '', is.at }
end
