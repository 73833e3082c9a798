"""What a cluster has and lacks for the pipelines and studies, asked before anything is submitted.

It only reads, but for reviews of access and for dry runs, which leave nothing. What the account may not see is said to
be unknown. Tested against a stand-in of the API server, and once by hand against a real one (Kubernetes 1.20:
discovery, RBAC, reviews of access, dry runs, warnings); never against Pipelines, Katib, Trainer, Kueue or the admission
of Pod Security.
"""
