-- The ends of the log.
return told(extent())
