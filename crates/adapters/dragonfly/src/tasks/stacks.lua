-- "stack:state" of all stacks with unfinished tasks.
ring()
return call('HKEYS', COUNTS)
