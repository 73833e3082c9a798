"""Studies: the Katib Experiment as their one spec."""
