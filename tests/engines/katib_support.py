"""Studies for the Katib engine, and the ways its tests drive it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from receipt_counter.engines.base import (
    SweepResult,
)
from receipt_counter.engines.katib.engine import KatibEngine
from receipt_counter.katib.experiment import StudyDocument
from tests.engines.api_server import ApiServer
from tests.engines.katib_stand_in import Katib
from tests.engines.support import LEARNING_RATE, experiment, read

CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": {"a.yaml": "x: 1\n"}}


def study(
    directory: Path,
    trials: int = 5,
    command: str = "echo loss=${lr}",
    container: Mapping[str, Any] = MappingProxyType({}),
    **options: Any,
) -> StudyDocument:
    mounted = {"volumeMounts": [{"name": "v", "mountPath": "/etc/study"}], **container}
    pod = {"volumes": [{"name": "v", "configMap": {"name": "files"}}]}
    document = experiment(command, parameters=[LEARNING_RATE], trials=trials, container=mounted, pod=pod, **options)
    directory.mkdir(exist_ok=True)
    return read(directory, document, CONFIG)


def run(
    directory: Path, sleep: Callable[[float], object], document: StudyDocument | None = None, **options: Any
) -> SweepResult:
    engine = KatibEngine(sleep=sleep, interval=5.0, **options)
    return engine.run(document or study(directory), directory / "store")


def ticking(server: ApiServer, **options: Any) -> Callable[[float], None]:
    """A sleep in which the cluster works."""
    katib = Katib(server, **options)
    return lambda seconds: katib.tick()


def files(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*.*") if path.is_file()}


def gone(server: ApiServer) -> None:
    """Somebody deletes the Experiment."""
    server.delete(next(key for key in server.objects if key[0] == "experiments"))
