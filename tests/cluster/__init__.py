"""What is done on a cluster, against a stand-in of its API server."""
