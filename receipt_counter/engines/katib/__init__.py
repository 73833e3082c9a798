"""The Katib engine: trials are Jobs on a Kubernetes cluster, run by Katib; this machine submits and follows.

Its account needs, in the study's namespace: get and create (patch, to ask for more trials; delete, for the two options
that delete) on experiments.kubeflow.org, list on trials.kubeflow.org, get, create and patch on configmaps. With list on
pods and events and get on pods/log it keeps logs and says why trials do not start; without, it says that it cannot.
With get on pods a pipeline's step knows whether its own pod is taken away, or somebody stopped it.

Its wire format is tested against a stand-in of the API server written from Katib's v1beta1 types and Kubernetes' API
conventions. It was never run on a real cluster: not with the admission webhooks and controllers of Katib, not with real
authentication (client certificates, exec plugins, service accounts), RBAC, garbage collection or watch caches.
"""
