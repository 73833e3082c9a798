"""The local engine: trials are processes on this machine."""
