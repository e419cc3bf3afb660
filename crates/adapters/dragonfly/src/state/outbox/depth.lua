-- How many entries wait.
return text(call('XLEN', OUTBOX) - call('ZCARD', PARKED))
