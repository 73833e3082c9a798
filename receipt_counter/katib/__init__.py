"""The Katib Experiment as the spec of a study: reading, checking, writing, rendering trials."""
