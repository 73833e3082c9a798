"""What is shown when a step fails, from what it left in the log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from receipt_counter.cli import local_pipeline
from receipt_counter.cli.local_pipeline import run_pipeline
from receipt_counter.errors import UserError
from receipt_counter.progress import Silent
from receipt_counter.storage.store import Store

CRASH = """
import sys
print("21:11:33.4 - INFO - Executing task 'train'")
print("    step 1")
print("    MemoryError: no more")
print("21:11:34.0 - ERROR - Task 'train' finished with status FAILURE")
print("Traceback (most recent call last):\\n  File kfp\\nRuntimeError: Pipeline failed")
sys.exit(1)
"""
MISTAKE = """
import json, os, sys
with open(os.environ["RECEIPT_COUNTER_PROGRESS"], "a") as events:
    for event in (
        {"event": "step", "name": "train", "pid": os.getpid()},
        {"event": "error", "step": "train", "message": "lower the rate", "status": 1},
    ):
        print(json.dumps(event), file=events)
sys.exit(1)
"""
OUT_OF_ORDER = "import sys; sys.exit('Traceback (most recent call last):\\nModuleNotFoundError: kfp')"


def run(code: str, store: Path, monkeypatch: pytest.MonkeyPatch) -> UserError:
    """Run a script in the pipeline's place and return how it failed."""
    package = store / "stand-in" / "pipelines"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "local.py").write_text(code)
    environment = local_pipeline._environment

    def first_on_the_path(*arguments: Any) -> dict[str, str]:
        found = environment(*arguments)
        return {**found, "PYTHONPATH": os.pathsep.join([str(package.parent), found["PYTHONPATH"]])}

    monkeypatch.setattr(local_pipeline, "_environment", first_on_the_path)
    monkeypatch.chdir(package.parent)
    with pytest.raises(UserError) as raised:
        run_pipeline(Store(store), "single", {}, Silent())
    return raised.value


def test_a_crash_shows_the_end_of_what_the_step_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = run(CRASH, tmp_path, monkeypatch)
    (log,) = (tmp_path / "logs").iterdir()
    assert error.status == 1
    head, *shown = error.message.splitlines()
    assert head == f"the pipeline failed; the end of {log}:"
    assert shown[-2:] == ["    step 1", "    MemoryError: no more"]
    assert "RuntimeError" not in error.message, "what kfp adds explains nothing"


def test_a_mistake_shows_its_own_message_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = run(MISTAKE, tmp_path, monkeypatch)
    assert (error.message, error.status) == ("train: lower the rate", 1)


def test_a_pipeline_that_cannot_start_shows_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = run(OUT_OF_ORDER, tmp_path, monkeypatch)
    assert "ModuleNotFoundError: kfp" in error.message
