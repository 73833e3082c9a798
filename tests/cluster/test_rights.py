"""What is asked of the API server is what the Roles allow, and the TensorBoards' Role allows nothing else."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest

from receipt_counter.cluster.connection import Connection
from receipt_counter.cluster.objects import Objects
from receipt_counter.cluster.tensorboard import TensorBoards
from receipt_counter.config.cluster import Cluster
from receipt_counter.engines.katib.engine import KatibEngine
from receipt_counter.errors import UserError
from tests.cluster.stand_in import ClusterServer
from tests.cluster.test_following import QUICK, Story, complete, failed
from tests.engines.katib_stand_in import Katib
from tests.manifests.test_access import RIGHTS
from tests.study.test_train_job_study import planned
from tests.support import write_squares


def test_tensorboards(server: ClusterServer) -> None:
    boards = TensorBoards(Objects(Connection(time.sleep, QUICK), "team"), Cluster(namespace="team"))
    server.put("experiments", "team", {"apiVersion": "v", "kind": "Experiment", "metadata": {"name": "study"}})
    for kind in ("deployment", "tensorboard"):
        boards.make("study", kind)
        time.sleep(1.1)  # the annotation has whole seconds: another time, another one
        boards.make("study", kind)
        boards.own("study")
    boards.prune(timedelta(days=1))
    boards.delete("study")
    assert server.asked == RIGHTS["receipt-counter-tensorboard-maker"]


def test_the_sweep(server: ClusterServer, tmp_path: Path) -> None:
    katib = Katib(server)
    engine = KatibEngine(sleep=lambda seconds: katib.tick(), interval=5.0)
    engine.run(planned(tmp_path, "cluster.nodes=2").document, tmp_path / "store")
    story = Story(server, write_squares(tmp_path / "squares", {"train": 8, "val": 8}), tmp_path / "store")
    with pytest.raises(UserError):
        story.train(failed)
    story.train(complete)
    allowed = RIGHTS["receipt-counter-sweep"]
    assert server.asked.keys() <= allowed.keys()
    assert {resource: verbs - allowed[resource] for resource, verbs in server.asked.items()} == {
        resource: set() for resource in server.asked
    }
    assert server.asked["trainer.kubeflow.org/trainingruntimes"] == allowed["trainer.kubeflow.org/trainingruntimes"]
