-- Forgets everything: what was kept belongs to an epoch that is over, and expires by itself.
call('SET', KEYS[1], ARGV[1])
return 1
