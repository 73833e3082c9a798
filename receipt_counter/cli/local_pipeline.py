"""Runs a pipeline with kfp's local runner in a process group of its own, and shows what its steps report."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import tempfile
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import receipt_counter
from receipt_counter import IMAGE_VARIABLE
from receipt_counter.cli.containers import Containers
from receipt_counter.errors import UserError
from receipt_counter.processes import Supervised, supervise
from receipt_counter.progress import ENVIRONMENT_VARIABLE, Event, EventReader, Sink
from receipt_counter.storage.files import read_json, write_json
from receipt_counter.storage.store import Store

PROJECT = Path(receipt_counter.__file__).parent.parent
LOG_LINES_SHOWN = 15


class StoppedError(UserError):
    """The user stopped the pipeline; what it has done so far is kept."""


@dataclass
class _Watch:
    """Shows the events of the steps, remembers what matters of them, and passes a stop on to the step that runs."""

    reader: EventReader
    sink: Sink
    steps: list[str] = field(default_factory=list)
    error: Event | None = None
    _running: int | None = None
    _asked_to_stop: int | None = None

    def __call__(self, child: Supervised) -> None:
        for event in self.reader.new_events():
            if event["event"] == "step":
                self.steps.append(event["name"])
                self._running = event["pid"]
            elif event["event"] == "step_end":
                self._running = None
            elif event["event"] == "error":
                self.error = event
            self.sink.handle(event)
        if child.stop_signal:
            self._stop(child)

    def _stop(self, child: Supervised) -> None:
        """Let the running step save and leave; between steps there is nothing to save."""
        if self._running is None:
            child.kill()
        elif self._running != self._asked_to_stop:
            self._asked_to_stop = self._running
            self.sink.handle({"event": "note", "text": f"stopping {self.steps[-1]} (once more to stop at once)"})
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._running, signal.SIGTERM)


@dataclass(frozen=True)
class Result:
    """What a pipeline left.

    Args:
        outputs: {output of the pipeline: where it lies}.
        steps: the steps that had to work; the others were taken from the cache.
    """

    outputs: dict[str, str]
    steps: tuple[str, ...]


def run_pipeline(
    store: Store, pipeline: str, arguments: Mapping[str, Any], sink: Sink, containers: Containers | None = None
) -> Result:
    """Run a pipeline to its end; its processes die with this one.

    Args:
        store: also keeps the log.
        pipeline: its name: "single", "hyperparameter", ...
        arguments: the pipeline's parameters.
        sink: shows progress; closed before this returns.
        containers: what steps run in; None runs each in a process.

    Raises:
        StoppedError: a signal asked to stop.
        UserError: a step failed; with its own message, or the last lines of its log.
    """
    log = store.root / "logs" / f"{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="receipt-counter-", ignore_cleanup_errors=True) as scratch:
        events, request, result = (Path(scratch) / name for name in ("events.jsonl", "request.json", "result.json"))
        environment = _environment(events, scratch)
        asked: dict[str, Any] = {"pipeline": pipeline, "arguments": dict(arguments), "containers": None}
        if containers:
            containers.own(store.pipeline)
            environment[IMAGE_VARIABLE] = containers.image
            asked["containers"] = containers.run_arguments(Path(scratch), environment)
        write_json(request, asked)
        watch = _Watch(EventReader(events), sink)
        sink.handle({"event": "step", "name": "pipeline"})
        try:
            status, stop_signal = supervise(
                [sys.executable, "-m", "pipelines.local", str(request), str(result), str(os.getpid())],
                environment=environment,
                log=log,
                on_poll=watch,
            )
        finally:
            sink.close()
        # kfp takes a container for a success when the engine has forgotten its status before kfp asks
        if status == 0 and watch.error is None:
            return Result(read_json(result), tuple(watch.steps))
    if stop_signal is not None:
        raise StoppedError("stopped; the same command continues where it stopped", 128 + stop_signal)
    if watch.error is not None:
        raise UserError(f"{watch.error['step']}: {watch.error['message']}", watch.error["status"])
    raise UserError(f"{_failed(watch.steps)} failed; the end of {log}:\n{_last_lines(log)}", status=1)


def _environment(events: Path, scratch: str) -> dict[str, str]:
    """This process's environment, and: where to report, our packages, temporary files that are deleted with us.

    Threads that wait for each other sleep: on a busy machine spinning ones slow a training step down five times.
    """
    path = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        "OMP_WAIT_POLICY": "PASSIVE",
        **os.environ,
        ENVIRONMENT_VARIABLE: str(events),
        "PYTHONPATH": path,
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": scratch,
    }


def _failed(steps: list[str]) -> str:
    return f"step '{steps[-1]}'" if steps else "the pipeline"


def _last_lines(log: Path) -> str:
    """The end of what the step printed, which kfp indents, without what kfp says after it, which explains nothing."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(encoding="utf-8", errors="replace"))
    of_the_step = re.split(r"^(?:Traceback|[0-9:.]+ - ERROR)", text, maxsplit=1, flags=re.MULTILINE)[0].strip()
    return textwrap.dedent("\n".join((of_the_step or text).splitlines()[-LOG_LINES_SHOWN:]))
