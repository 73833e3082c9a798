"""What steps hand each other: by path on this machine, by location on a cluster, whose launcher owns the uris."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from receipt_counter.steps import hand_on, handed
from receipt_counter.storage.pusher import push
from receipt_counter.storage.sync import open_mirror
from tests.storage.s3.conftest import another_machine


@dataclass
class Artifact:
    uri: str
    path: str
    metadata: dict[str, Any] = field(default_factory=dict)


def test_on_this_machine_the_uri_is_the_path(tmp_path: Path) -> None:
    artifact = Artifact(str(tmp_path / "pipeline" / "run"), str(tmp_path / "pipeline" / "run"))
    hand_on(artifact, tmp_path / "runs" / "abc")
    assert artifact.uri == str(tmp_path / "runs" / "abc")
    assert handed(artifact) == handed(Artifact(artifact.uri, "")) == tmp_path / "runs" / "abc"


@pytest.mark.parametrize("kubeflows", ["minio://mlpipeline/v2/artifacts/run", "s3://mlpipeline/x/run", "gs://b/run"])
def test_on_a_cluster_another_pod_finds_it(
    kubeflows: str, environment: dict[str, str], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_mirror(url).root / "runs" / "abc"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    push(run)
    artifact = Artifact(kubeflows, str(tmp_path / "kfp" / "run"))
    hand_on(artifact, run)
    assert artifact.uri == kubeflows
    assert Path(artifact.path).read_text() == f"{url}/runs/abc\n"
    there = another_machine(url, tmp_path / "pod", monkeypatch)
    assert handed(artifact) == there.root / "runs" / "abc"
    assert (there.root / "runs" / "abc" / "run.json").read_text() == "{}"
