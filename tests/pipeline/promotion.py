"""Runs the promote component in kfp's local runner: `python -m tests.pipeline.promotion STORE RUN_ID...`.

Prints a JSON line for each run: the decision's metadata, and what the Kubeflow UI would show. A process of its own, as
kfp's runner alters logging and printing.
"""

import json
import sys
from pathlib import Path

from kfp import dsl, local

from components import component
from components.promote.component import promote


@component
def find(*, directory: str, run: dsl.Output[dsl.Model]) -> None:
    run.uri = directory


@dsl.pipeline(name="promotion")
def promotion(directory: str, store: str, name: str, code_version: str) -> dsl.Markdown:
    found = find(directory=directory)
    promoted = promote(run=found.outputs["run"], store=store, name=name, code_version=code_version)
    promoted.set_caching_options(False)
    return promoted.outputs["decision"]


if __name__ == "__main__":
    store, *run_ids = sys.argv[1:]
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(Path(store) / "pipeline"))
    shown = []
    for run_id in run_ids:
        task = promotion(directory=str(Path(store) / "runs" / run_id), store=store, name="slips", code_version="1")
        decision = task.outputs["Output"]
        shown.append({**decision.metadata, "page": Path(decision.path).read_text()})
    for one in shown:
        print("DECISION", json.dumps(one))
