-- Answers the name of the newest dead letter, empty without one.
return { 'LAST', call('ZREVRANGE', group.dead, '0', '0')[1] or '' }
