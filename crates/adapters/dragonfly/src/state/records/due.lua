-- What has expired. KEYS: the expiries. ARGV: at most how many.
return call('ZRANGEBYSCORE', KEYS[1], '-inf', text(now()), 'LIMIT', '0', ARGV[1])
