"""The stand-in of a cluster's API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.api_server import ApiServer


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    with ApiServer() as started:
        started.write_kubeconfig(tmp_path / "kubeconfig", "team")
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        yield started
