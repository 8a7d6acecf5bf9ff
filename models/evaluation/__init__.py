"""Whether a result may be believed: audit of leaks, protocols, measures of pictures."""
