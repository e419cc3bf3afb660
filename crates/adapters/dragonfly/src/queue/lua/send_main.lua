queue_at(1)
return take_in(4, 1, #ARGV)
