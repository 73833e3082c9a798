"""The server of our own trials: what it imports starts no thread, and torch works in its forks."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil

from receipt_counter.engines.local.guardian import Guardian
from receipt_counter.engines.local.preloaded import OURS, Preloaded, PreloadedServer
from receipt_counter.engines.local.trial_process import Launch


def test_imports_are_paid_once(tmp_path: Path) -> None:
    guardian = Guardian()
    preloaded = Preloaded("tests.engines.tiny_trial", OURS.imports)
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    server = PreloadedServer(preloaded, environment, tmp_path / "server.log", guardian)
    try:
        deadline = time.monotonic() + 120
        while not server.is_ready:
            assert server.is_alive, (tmp_path / "server.log").read_text()
            assert time.monotonic() < deadline
            server.handle()
            time.sleep(0.05)
        (process,) = [child for child in psutil.Process().children() if child.pid == server.process]
        assert process.num_threads() == 1
        launch = Launch(("unused",), environment, tmp_path, tmp_path / "trial.log")
        trial = server.start(launch, ["torch"])
        while trial.poll() is None and time.monotonic() < deadline:
            server.handle()
            time.sleep(0.01)
        assert trial.poll() == 0, (tmp_path / "trial.log").read_text()
        said = (tmp_path / "trial.log").read_text()
        assert "sum=1000000.0 threads=2" in said
        assert float(said.partition("computed=")[2].split()[0]) < 2  # CPU seconds; the imports take more
        sleeper = server.start(launch, ["sleep"])
        while sleeper.group is None:
            server.handle()
        sleeper.signal(signal.SIGTERM)
        while sleeper.poll() is None:
            server.handle()
        assert sleeper.poll() == -signal.SIGTERM
    finally:
        server.close()
        guardian.close()
