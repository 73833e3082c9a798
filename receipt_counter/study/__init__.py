"""Studies: what is tried, how it is compared, and how sure one can be of the answer."""
