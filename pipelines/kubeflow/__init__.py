"""The pipelines on Kubeflow: compiled for a cluster, uploaded, started and followed."""
