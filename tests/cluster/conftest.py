"""The stand-in of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.stand_in import ClusterServer


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClusterServer]:
    with ClusterServer() as started:
        started.write_kubeconfig(tmp_path / "kubeconfig", "elsewhere")
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        yield started
