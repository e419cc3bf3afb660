-- Whether a lease holds: 'held', 'cancelled' or 'lost'.
local function standing(node, nonce)
  if not node or node.nonce ~= nonce then
    return 'lost'
  end
  if node.state == 'running' and node.due > NOW then
    return 'held'
  end
  return node.state == 'cancelled' and 'cancelled' or 'lost'
end
