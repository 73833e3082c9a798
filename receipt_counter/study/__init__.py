"""Studies: planned sets of trials, and what they found."""
