-- How scripts reach the server.
local call = redis.call
