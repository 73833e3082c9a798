"""The stand-in of a cluster, for studies that are submitted."""

from tests.cluster.conftest import server

__all__ = ["server"]
