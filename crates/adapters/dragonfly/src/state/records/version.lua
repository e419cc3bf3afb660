-- Versions are decimal text: up to 2^63 - 1 they are beyond what a double can count.

local LAST = '9223372036854775807'

-- 20 digits, so that the order of texts is the order of versions.
local function padded(version)
  return string.rep('0', 20 - #version) .. version
end

local function unpadded(version)
  return string.match(version, '^0*(%d+)$')
end

local function below(one, other)
  return padded(one) < padded(other)
end

-- The version beside: `step` is 1 or -1. There is none below 0 or above LAST.
local function beside(version, step)
  if #version < 16 then
    return text(tonumber(version) + step)
  end
  local digits = { string.byte(version, 1, -1) }
  local at = #digits
  local wraps, zero = 57, 48
  if step < 0 then
    wraps, zero = 48, 57
  end
  while digits[at] == wraps do
    digits[at] = zero
    at = at - 1
  end
  digits[at] = digits[at] + step
  return unpadded(string.char(unpack(digits)))
end

local function next_version(version)
  return beside(version, 1)
end
