-- Only what is due; answers when to come again.
ring()
return { next_timer() }
