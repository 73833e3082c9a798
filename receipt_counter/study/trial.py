"""One trial of a study: trains and judges one variant with each of its seeds; `python -m receipt_counter.study.trial`.

It is what an Experiment's Job calls. Prints `name=value` lines for the metrics collector, the means over the seeds
last, and exits 0 or not. A run that is already there and finished is not trained again.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from receipt_counter.config.loading import from_yaml, resolve_onto
from receipt_counter.config.schema import Config
from receipt_counter.config.source import read_override
from receipt_counter.data.dataset import Dataset
from receipt_counter.data.example import SPLITS
from receipt_counter.errors import UserError, suggestion
from receipt_counter.processes import die_with_parent
from receipt_counter.progress import Progress, open_progress
from receipt_counter.storage.labels import LABEL, SEARCH, STUDY, label_events
from receipt_counter.storage.pusher import push
from receipt_counter.storage.run import Run
from receipt_counter.storage.store import Store, open_store
from receipt_counter.storage.sync import pull
from receipt_counter.study.runs import dataset_of, with_seed
from receipt_counter.study.variants import Variant, read_variants
from receipt_counter.training.launch import launch, launch_apart, this_machine

STORE = "RECEIPT_COUNTER_STORE"  # where runs live; a cluster's Job sets it, the local engine too
TRIAL = "RECEIPT_COUNTER_TRIAL"  # the trial's name; they set it too, and the local engine the study's
_SHORT = 8  # characters of a value that is shown as it is


def main(argv: Sequence[str] | None = None) -> int:
    """Run the trial.

    Args:
        argv: arguments without the program's name; None takes the process's own.

    Returns:
        Exit status: 0 when every seed's run is finished and judged.
    """
    arguments = _parser().parse_args(argv)
    try:
        store = open_store(os.environ.get(STORE))
        config, progress, name = _variant(arguments), open_progress(), arguments.experiment_name
        _name_study(arguments.search)
        # all are trained before the first is judged: of several machines only the first judges, the others are free
        trained = []
        for number, seed in enumerate(arguments.seeds):
            os.environ[LABEL] = _label(arguments, seed)
            trained.append(_train(with_seed(config, seed), number, name, store, progress))
        if this_machine(config).rank:
            return 0
        figures = [_judge(run, dataset, arguments.split, progress) for run, dataset in trained]
        for name, value in means(figures).items():
            print(f"{name}={value:.8g}", flush=True)
    except UserError as error:
        print(f"error: {error.message}", file=sys.stderr, flush=True)
        return error.status
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m receipt_counter.study.trial", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the study's resolved config")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--variants", type=Path, metavar="FILE", help="variants by name")
    parser.add_argument("--variant", metavar="NAME", help="one of them")
    parser.add_argument("--seeds", type=_seeds, required=True, metavar="N,N", help="a run for each")
    parser.add_argument("--split", default="val", choices=SPLITS[1:], help="what its figures are measured on")
    parser.add_argument("--experiment-name", default="trial", help="recorded in run.json")
    parser.add_argument("--search", metavar="STUDY", help="that this confirms; TensorBoard shows the runs there too")
    return parser


def _seeds(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _variant(arguments: argparse.Namespace) -> Config:
    """The study's config with what this trial changes."""
    config = from_yaml(arguments.config)
    if arguments.variant is not None:
        if arguments.variants is None:
            raise UserError(f"--variant {arguments.variant}: also name the file of variants with --variants")
        config = _named(arguments.variants, arguments.variant).apply(config)
    return resolve_onto(config, [read_override(text) for text in arguments.overrides])


def _named(file: Path, name: str) -> Variant:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot read the variants: {error}") from None
    variants = read_variants(text, str(file))
    if name not in variants:
        raise UserError(f"{file}: no variant {name!r}; {suggestion(name, variants)}")
    return variants[name]


def _name_study(search: str | None) -> None:
    """Katib names a trial "<study>-<8 characters>", and has no other place for the study's name in its template."""
    if not os.environ.get(STUDY) and os.environ.get(TRIAL):
        os.environ[STUDY] = os.environ[TRIAL].rpartition("-")[0]
    if search:
        os.environ[SEARCH] = search


def _label(arguments: argparse.Namespace, seed: int) -> str:
    """What TensorBoard calls a run: its variant, or what a search changed, and its seed."""
    keys = [text.partition("=")[0].split(".") for text in arguments.overrides]
    leaves = [key[-1] for key in keys]
    names = [key[-1] if leaves.count(key[-1]) == 1 else ".".join(key[-2:]) for key in keys]
    values = [text.partition("=")[2] for text in arguments.overrides]
    changed = ",".join(f"{name}={_short(value)}" for name, value in zip(names, values, strict=True))
    return f"{arguments.variant or changed or 'baseline'}-seed{seed}"


def _short(value: str) -> str:
    """A sampled number with as many digits as tell trials apart."""
    try:
        return value if len(value) <= _SHORT else f"{float(value):.4g}"
    except ValueError:
        return value


def _train(config: Config, number: int, name: str, store: Store, progress: Progress) -> tuple[Run, Dataset]:
    """The finished run of one seed, and what it was trained on."""
    dataset = dataset_of(config, store, progress)
    if this_machine(config).world == 1:
        directory = launch(config, dataset, store.root, experiment_name=name, progress=progress)
    else:
        directory = launch_apart(config, dataset, store.root, experiment_name=name, number=number)
    run = Run.open(directory)
    if run.events.is_dir() and not this_machine(config).rank:
        for file in label_events(run.events):  # again: another study may have trained it
            push(file)
    return run, dataset


def _judge(run: Run, dataset: Dataset, split: str, progress: Progress) -> Mapping[str, float]:
    """A run's figures on a split."""
    from receipt_counter.steps import evaluate

    pull(run.directory, "evaluation")
    if not (run.evaluation(split) / "metrics.json").exists():
        pull(run.directory, "model")
    evaluate(run, dataset, split, progress)
    figures: Mapping[str, float] = run.record["splits"][split]
    return figures


def means(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure over the seeds; one that some seed lacks, or that is not finite, is left out."""
    shared = [name for name in figures[0] if all(name in one for one in figures)]
    found = {name: fmean(one[name] for one in figures) for name in shared}
    return {name: value for name, value in found.items() if math.isfinite(value)}


if __name__ == "__main__":
    die_with_parent()
    sys.exit(main())
