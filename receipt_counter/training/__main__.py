"""Train one run, in the processes its config asks for or torchrun started: what a trial's command calls."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from receipt_counter.config.loading import from_yaml, parse_config
from receipt_counter.data.dataset import Dataset
from receipt_counter.errors import UserError
from receipt_counter.processes import die_with_parent
from receipt_counter.storage.store import open_store
from receipt_counter.storage.sync import locate
from receipt_counter.training.launch import CONFIG, launch


def main() -> int:
    """Parse the command line and train.

    Returns:
        Exit status: 0 when the run is finished.
    """
    parser = argparse.ArgumentParser(prog="python -m receipt_counter.training", description=__doc__)
    parser.add_argument(
        "--config",
        type=Path,
        help=f"a resolved config, as `config show --yaml` prints it; without, {CONFIG} holds its text",
    )
    parser.add_argument("--data", required=True, help="dataset directory, or its URL")
    parser.add_argument("--store", help="where runs live (default ./experiments)")
    parser.add_argument("--experiment-name", default="run", help="recorded in run.json")
    arguments = parser.parse_args()
    if arguments.config is None and CONFIG not in os.environ:
        parser.error(f"one of --config and {CONFIG} is needed")
    try:
        store = open_store(arguments.store)
        dataset = Dataset.open(locate(arguments.data))
        config = from_yaml(arguments.config) if arguments.config else parse_config(os.environ[CONFIG])
        print(launch(config, dataset, store.root, experiment_name=arguments.experiment_name))
    except UserError as error:
        print(error.message, file=sys.stderr)
        return error.status
    return 0


if __name__ == "__main__":
    die_with_parent()
    sys.exit(main())
