"""The training monitor: what lies in a folder of experiments, kept readable while it grows, as a JSON API."""
