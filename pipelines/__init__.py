"""The pipelines: wiring between components, and the ways to compile and run them."""
