"""What is done on a cluster itself, beside studies: requests to its API server and the objects of ours there."""
