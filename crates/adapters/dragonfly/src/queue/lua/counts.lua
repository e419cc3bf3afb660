-- Answers how many messages are ready, delayed, leased, dead, and were expired and dropped.
local lost = call('HMGET', group.state, 'expired', 'dropped')
return {
  'COUNTS', text(call('ZCARD', group.ready) + call('ZCARD', group.waiting)),
  text(call('ZCARD', group.delayed)), text(call('ZCARD', group.leased)),
  text(call('ZCARD', group.dead)), lost[1] or '0', lost[2] or '0',
}
