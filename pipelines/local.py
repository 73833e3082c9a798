"""Run a pipeline on this machine with kfp's local runner: `python -m pipelines.local REQUEST RESULT PARENT`.

A process of its own: kfp's runner alters logging and printing, and deletes its workspace. What it prints is a log.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

from receipt_counter.processes import die_with_parent
from receipt_counter.steps import CALLER_VARIABLE, LOCATION
from receipt_counter.storage.files import write_json
from receipt_counter.storage.store import Store, open_store


def run(
    store: Store, pipeline: str, arguments: dict[str, Any], containers: dict[str, Any] | None = None
) -> dict[str, str]:
    """Run a pipeline; steps whose inputs and code have not changed are taken from the cache.

    Args:
        store: keeps kfp's cache and the small files it writes for each step.
        pipeline: its name.
        arguments: its parameters.
        containers: arguments of kfp's DockerRunner; None runs each step in a process.

    Returns:
        {output of the pipeline: where it lies}.
    """
    from kfp import local

    from pipelines.__main__ import PIPELINES

    warnings.filterwarnings(
        "ignore", message="You may be attemping to run a task that uses custom", category=RuntimeWarning
    )
    local.init(
        runner=local.SubprocessRunner(use_venv=False) if containers is None else _in_containers(containers),
        pipeline_root=str(store.pipeline),
        enable_caching=True,
        cache_root=str(store.cache),
    )
    task = PIPELINES[pipeline](**arguments)
    return {name: artifact.metadata.get(LOCATION, artifact.uri) for name, artifact in task.outputs.items()}


def _in_containers(arguments: dict[str, Any]) -> Any:
    """A runner of containers that end with this process, which the engine would let go on."""
    from kfp import local

    return local.DockerRunner(
        **{**arguments, "environment": {**arguments["environment"], CALLER_VARIABLE: str(os.getpid())}}
    )


def main(argv: list[str]) -> None:
    """Run the request in one file and write the outputs to another."""
    request_file, result_file, parent = argv
    die_with_parent(int(parent))
    # A step that is asked to stop does so by itself, and this process must outlive it to see how. An ignored signal
    # would be inherited by the step; a handler that does nothing is not.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    store = open_store(request["arguments"]["store"])
    write_json(Path(result_file), run(store, **request))


if __name__ == "__main__":
    main(sys.argv[1:])
