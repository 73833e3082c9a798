"""What a worker's process imports in a moment: an analysis that does not end."""

from __future__ import annotations

import json
import time
from pathlib import Path


def analyse_study(root: Path, study: Path, output: Path) -> str:
    """Does not end for the study of this name; of any other it says at once that there is nothing."""
    if study.name == "endless":
        time.sleep(600)
    output.parent.mkdir(parents=True, exist_ok=True)
    found = {"state": "unavailable", "problem": "nothing yet", "analysis": None, "figures": {}}
    output.write_text(json.dumps(found))
    return "unavailable"
