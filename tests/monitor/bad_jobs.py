"""Jobs for workers that do not end well."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from receipt_counter.monitor.event_files import EventDecoder
from receipt_counter.monitor.run_index import RunIndex, update_index


def analyse_study(root: Path, study: Path, output: Path) -> str:
    """Does not end for the study of this name; of any other it says at once that there is nothing."""
    if study.name == "endless":
        time.sleep(600)
    output.parent.mkdir(parents=True, exist_ok=True)
    found = {"state": "unavailable", "problem": "nothing yet", "analysis": None, "figures": {}}
    output.write_text(json.dumps(found))
    return "unavailable"


def killed_at_a_run(root: Path, directory: Path, place: Path, plain: dict[str, Any]) -> dict[str, Any]:
    """Reads a run's events, but is killed at the one of this name, as by a machine without memory."""
    if directory.name == "killer":
        os.kill(os.getpid(), signal.SIGKILL)
    index = RunIndex.from_plain(plain)
    update_index(index, directory / "events", place, EventDecoder())
    return {"index": index.to_plain(), "config": ({}, None)}
