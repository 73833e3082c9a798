"""A whole study (begun, held up, stopped, asked for more, finished, deleted) while the API server fails in each way."""

from __future__ import annotations

import itertools
import os
import signal
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from receipt_counter.cluster.connection import Patience
from receipt_counter.engines.base import SweepStoppedError
from receipt_counter.engines.katib import cluster
from tests.engines.api_server import CUT, DROP, LOSE, SLOW, ApiServer, Fault
from tests.engines.katib_stand_in import Katib
from tests.engines.katib_support import files, run, study

KINDS = (
    "GET experiments",
    "POST experiments",
    "PATCH experiments",
    "DELETE experiments",
    "GET configmaps",
    "POST configmaps",
    "PATCH configmaps",
    "GET trials",
    "GET pods",
    "GET pods/log",
    "GET events",
)
FAULTS: tuple[Fault, ...] = (
    408,
    (410, "Expired", "too old resource version"),
    (429, "TooManyRequests", "slow down", {"Retry-After": "7"}),
    500,
    502,
    503,
    504,
    DROP,
    LOSE,
    CUT,
    SLOW,
)
OUTRUN: Fault = (409, "Conflict", "the object has been modified")
PATIENCE = Patience(pause=0.5)
HELD_UP, STOPPED = range(3, 12), 12  # looks at the cluster


def whole_study(
    directory: Path, server: ApiServer, outage: Callable[[int], object] = lambda look: None
) -> tuple[dict[str, str], list[float]]:
    """Returns what is left in the study's directory, and how long was rested between tries.

    Args:
        directory: for its files.
        server: where it runs.
        outage: called between the looks at the cluster, with their number.
    """
    katib, looks, hidden = Katib(server, endings={1: "Failed"}), itertools.count(1), {}
    rests: list[float] = []

    def sleep(seconds: float) -> None:
        if seconds != 5.0:
            rests.append(seconds)
            outage(0)
            return
        look = next(looks)
        server.objects.update(hidden)
        hidden.clear()
        if look in HELD_UP:  # trials whose pods are not made
            hidden.update({key: server.objects.pop(key) for key in list(server.objects) if key[0] == "pods"})
        else:
            katib.tick()
        outage(look)
        if look == STOPPED:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SweepStoppedError, match="is left as it is"):
        run(directory, sleep, study(directory, trials=4), patience=PATIENCE)
    result = run(directory, sleep, study(directory, trials=6), patience=PATIENCE, delete_when_done=True)
    assert len(result.trials) == 6
    return files(result.directory), rests


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Counter[str]]:
    directory = tmp_path_factory.mktemp("calm")
    with ApiServer() as server, pytest.MonkeyPatch.context() as patch:
        server.write_kubeconfig(directory / "kubeconfig", "team")
        patch.setenv("KUBECONFIG", str(directory / "kubeconfig"))
        left, rests = whole_study(directory, server)
        assert rests == []
        assert server.objects == {}
        return left, Counter(server.requests)


def test_a_whole_study_asks_for_everything(calm: tuple[dict[str, str], Counter[str]]) -> None:
    left, requests = calm
    assert set(requests) == set(KINDS)
    assert sum(name.endswith("stdout.log") for name in left) == 6


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault[0] if isinstance(fault, tuple) else fault))
def test_each_kind_of_request_survives_each_fault(
    tmp_path: Path,
    server: ApiServer,
    monkeypatch: pytest.MonkeyPatch,
    calm: tuple[dict[str, str], Counter[str]],
    fault: Fault,
) -> None:
    monkeypatch.setattr(cluster, "TIMEOUT", (5.0, 0.4 if fault == SLOW else 5.0))
    server.faults_of = {kind: deque([fault, None, None, fault]) for kind in KINDS}
    left, rests = whole_study(tmp_path, server)
    assert left == calm[0]
    assert server.objects == {}
    assert all(len(faults) < 4 for faults in server.faults_of.values())
    assert len(rests) >= len(KINDS)


def test_what_others_change_meanwhile(
    tmp_path: Path, server: ApiServer, calm: tuple[dict[str, str], Counter[str]]
) -> None:
    server.faults_of = {
        kind: deque([OUTRUN]) for kind in ("PATCH experiments", "PATCH configmaps", "DELETE experiments")
    }
    left, rests = whole_study(tmp_path, server)
    assert left == calm[0]
    assert rests == [0.5] * 3


@pytest.mark.parametrize("down", [2, 9, 14])
def test_the_api_server_restarts(
    tmp_path: Path, server: ApiServer, calm: tuple[dict[str, str], Counter[str]], down: int
) -> None:
    """It is not there for six tries of whatever comes next."""
    tries: dict[str, Any] = {"left": 0}

    def outage(look: int) -> None:
        if look == down:
            server.stop()
            tries["left"] = 6
        elif look == 0 and tries["left"]:
            tries["left"] -= 1
            if not tries["left"]:
                server.listen()

    left, rests = whole_study(tmp_path, server, outage)
    assert left == calm[0]
    assert rests == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
