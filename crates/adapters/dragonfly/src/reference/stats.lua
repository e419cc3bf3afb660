-- Sums over the namespace, without what has expired.
local entries, held = sum_of('entries'), sum_of('held')
local stored, plain = sum_of('stored_bytes'), sum_of('plain_bytes')
for _, id in ipairs(call('ZRANGEBYSCORE', EXPIRES, '-inf', text(NOW))) do
  local entry = load(id)
  entries, stored, plain = entries - 1, stored - entry.stored, plain - entry.size
  if entry.holders > 0 then
    held = held - 1
  end
end
return { entries, held, stored, plain, sum_of('collections'), sum_of('evictions') }
