"""Run a pipeline on Kubeflow: `python -m pipelines.kubeflow REQUEST PARENT`, which `receipt-counter run` calls."""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines.kubeflow.submission import Request, Submission
from receipt_counter.cli.terminal import print_error
from receipt_counter.errors import UserError
from receipt_counter.processes import die_with_parent
from receipt_counter.progress import Progress, terminal_sink
from receipt_counter.storage.files import read_json


def main(argv: list[str]) -> int:
    """Run the request in a file; returns the exit status."""
    request_file, parent = argv
    die_with_parent(int(parent))
    progress = Progress(terminal_sink(sys.stderr))
    try:
        Submission(Request(**read_json(Path(request_file))), progress).run()
    except UserError as error:
        progress.close()
        print_error(error.message)
        return error.status
    progress.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
