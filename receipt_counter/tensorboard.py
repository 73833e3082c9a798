"""TensorBoard over the runs of a store, or of one study in it, under their names."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from receipt_counter.errors import UserError
from receipt_counter.processes import Supervised, supervise
from receipt_counter.storage.labels import link_runs
from receipt_counter.storage.sync import mirror_of

PORT = 6006
HEALTH = "/data/environment"  # answers once it has started
SECONDS_BETWEEN_LINKS = 5.0
SECONDS_BETWEEN_FETCHES = 10.0
_LOG_LINES = 15
_SECONDS_TO_ANSWER = 1.0


def tensorboard_arguments(logs: Path, host: str, port: int, path_prefix: str) -> list[str]:
    """The arguments of TensorBoard.

    Args:
        logs: directory with a run in each directory below.
        host, port: where it listens.
        path_prefix: of its pages, without a slash at its end; empty for none.
    """
    # an interrupted run leaves several event files, and all of them may be shown again
    fixed = [f"--logdir={logs}", f"--host={host}", f"--port={port}", "--reload_interval=15", "--reload_multifile=true"]
    return [*fixed, f"--path_prefix={path_prefix}"] if path_prefix else fixed


@contextmanager
def fetched(runs: Path) -> Iterator[None]:
    """Have the events of all runs here, and while the block lasts what is new of them; in a directory they are.

    Args:
        runs: parent of the run directories.

    Raises:
        StoreError: the store does not answer at the beginning.
    """
    mirror = mirror_of(runs)
    if mirror is None:
        yield
        return

    def wanted(name: str) -> bool:
        _, _, below = name.partition("/")
        # the record tells a run's name; of a run that is trained here it is newer here
        return below.startswith("events/") or (below == "run.json" and not (runs / name).exists())

    ended = threading.Event()

    def follow() -> None:
        while not ended.wait(SECONDS_BETWEEN_FETCHES):
            with suppress(UserError):  # the next time
                mirror.pull(runs, wanted)

    mirror.pull(runs, wanted)
    thread = threading.Thread(target=follow, name="fetch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


def serve(
    runs: Path,
    study: str | None,
    *,
    host: str,
    port: int,
    path_prefix: str = "",
    on_start: Callable[[str, int], object] = lambda url, shown: None,
) -> int:
    """Run TensorBoard until it is asked to stop; runs that begin meanwhile appear.

    Args:
        runs: parent of the run directories.
        study: only this study's; None for all.
        host, port, path_prefix: see `tensorboard_arguments`.
        on_start: told the address and the number of runs once it answers.

    Returns:
        Exit status: 128 + n if signal n stopped it.

    Raises:
        UserError: it ended by itself; with the end of what it said.
    """
    with tempfile.TemporaryDirectory(prefix="receipt-counter-", ignore_cleanup_errors=True) as scratch:
        links, log = Path(scratch) / "runs", Path(scratch) / "tensorboard.log"
        url = f"http://{'localhost' if host == '0.0.0.0' else host}:{port}{path_prefix}"
        shown, linked, answers = link_runs(runs, links, study), time.monotonic(), False

        def watch(child: Supervised) -> None:
            nonlocal shown, linked, answers
            if child.stop_signal:
                child.kill()
                return
            if not answers and _is_answering(url + HEALTH):
                answers = True
                on_start(f"{url}/", shown)
            if time.monotonic() - linked >= SECONDS_BETWEEN_LINKS:
                shown, linked = link_runs(runs, links, study), time.monotonic()

        command = [sys.executable, "-m", "tensorboard.main", *tensorboard_arguments(links, host, port, path_prefix)]
        _, stop = supervise(command, environment={**os.environ, "HOME": scratch}, log=log, on_poll=watch)
        if stop is not None:
            return 128 + stop
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        raise UserError("\n".join(["TensorBoard ended:", *lines]), status=1)


def _is_answering(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS_TO_ANSWER) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
