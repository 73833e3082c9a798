"""The four steps of an experiment, as functions: what the pipeline's components call and nothing else needs kfp for."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from receipt_counter.config.loading import from_yaml
from receipt_counter.errors import UserError
from receipt_counter.evaluation.gates import markdown_gates
from receipt_counter.importing import importing
from receipt_counter.processes import die_with, die_with_parent
from receipt_counter.progress import Progress, open_progress
from receipt_counter.storage.files import read_json, write_atomic
from receipt_counter.storage.ownership import edited
from receipt_counter.storage.pusher import push
from receipt_counter.storage.run import Run
from receipt_counter.storage.store import Store, open_store
from receipt_counter.storage.sync import locate, pull, uri

if TYPE_CHECKING:  # the steps that need them import them: each costs seconds
    from receipt_counter.config.schema import Config
    from receipt_counter.data.dataset import Dataset

PROBLEMS_SHOWN = 10
# The process that a step in a container on the user's machine ends with: a container does not end with its caller.
CALLER_VARIABLE = "RECEIPT_COUNTER_CALLER"
LOCATION = "location"  # in an artifact's metadata: the uri of what it stands for
PIPELINE_POD = "KFP_POD_NAME"  # variable that Pipelines sets in the pods of its steps on a cluster


@contextmanager
def step(name: str) -> Iterator[Progress]:
    """Surround a step that runs in a process of its own: it dies with its parent and reports what happens.

    Args:
        name: the step, as the user sees it.

    Yields:
        Where to report progress.

    Raises:
        SystemExit: in place of a UserError, once its message has been reported.
    """
    die_with_parent()
    if caller := os.environ.get(CALLER_VARIABLE):
        die_with(int(caller))
    progress = open_progress()
    progress.event("step", name=name, pid=os.getpid())
    try:
        yield progress
    except UserError as error:
        progress.event("error", step=name, message=error.message, status=error.status)
        raise SystemExit(f"{name}: {error.message}") from None
    finally:
        progress.event("step_end", name=name)
        progress.close()


class Artifact(Protocol):
    """What steps hand each other through Kubeflow."""

    uri: str
    path: str
    metadata: dict[str, Any]


def hand_on(artifact: Artifact, path: Path) -> None:
    """Say in an output what it stands for: a directory or file of the store, told by its metadata.

    On a cluster its uri stays what Kubeflow made it, and the location is the content of the file there: the launcher
    uploads that file, and fails where an output's uri is not in its own bucket or an input's is a plain path
    (`KeyFromURI` and `ParseBucketConfigForArtifactURI` in kubeflow/pipelines). On this machine its uri is the path,
    which kfp's cache looks at: what was removed is made again.

    Args:
        artifact: the output.
        path: what is handed on; the store has it by now.
    """
    artifact.metadata[LOCATION] = uri(path)
    if "://" in artifact.uri:
        write_atomic(Path(artifact.path), f"{uri(path)}\n")
    else:
        artifact.uri = str(path)


def handed(artifact: Artifact, *parts: str) -> Path:
    """What an earlier step handed on, with its content here.

    Args:
        artifact: the input.
        parts: what is needed of a run, see `storage.sync.pull`.
    """
    return locate(artifact.metadata.get(LOCATION, artifact.uri), *parts)


def prepare_data(config: Config, store: Store, progress: Progress) -> Dataset:
    """The dataset a config asks for: the user's own, checked, or one rendered into the store.

    Args:
        config: `data.path` names the user's own, by its directory or URL.
        store: keeps rendered datasets, one for each way to render them.
        progress: shows how far it is.

    Raises:
        UserError: the user's dataset has problems; the first ones are listed.
    """
    from receipt_counter.data.dataset import Dataset
    from receipt_counter.data.render.build import render_dataset, specification

    if config.data.path is not None:
        from receipt_counter.data.check import check_dataset

        path = locate(config.data.path)
        dataset = Dataset.open(path)
        problems = check_dataset(path)
        if problems:
            shown = "\n".join(f"  {problem}" for problem in problems[:PROBLEMS_SHOWN])
            raise UserError(
                f"{uri(path)}: this dataset has {len(problems)} problem{'s' * (len(problems) > 1)}; "
                f"`receipt-counter data check {uri(path)}` lists all of them:\n{shown}"
            )
        return dataset
    what = json.dumps(specification(config), sort_keys=True)
    path = store.datasets / f"rendered-{hashlib.sha256(what.encode()).hexdigest()[:12]}"
    pull(path)
    dataset = render_dataset(config, path, progress=progress.callback("render images"))
    push(path)
    return dataset


def train(config: Config, dataset: Dataset, store: str, experiment_name: str, progress: Progress) -> Path:
    """Train a run: in this pod or on this machine, or from a pipeline's pod on several machines, as a TrainJob.

    Args:
        config: the resolved config; `cluster.nodes` says on how many machines.
        dataset: what to train on.
        store: where runs live.
        experiment_name: recorded with the run.
        progress: shows how far it is.

    Returns:
        The run directory; its status is "finished".

    Raises:
        UserError: see `launch` and `train_on_machines`.
    """
    if config.cluster.nodes > 1 and PIPELINE_POD in os.environ:
        from receipt_counter.cluster.following import train_on_machines

        return train_on_machines(config, dataset, store, experiment_name=experiment_name, progress=progress)
    from receipt_counter.training.launch import launch

    return launch(config, dataset, open_store(store).root, experiment_name=experiment_name, progress=progress)


def evaluate(run: Run, dataset: Dataset, split: str, progress: Progress) -> dict[str, float]:
    """Judge a run's best model on one split and record the figures as the run's own.

    Args:
        run: a run whose training has finished.
        dataset: the data it was trained on.
        split: the split to judge on.
        progress: shows how far it is.

    Returns:
        The flat figures that run.json holds; measured only if it does not hold them yet.
    """
    known: dict[str, float] | None = run.record.get("splits", {}).get(split)
    if known is not None and (run.evaluation(split) / "metrics.json").exists():
        return known
    with importing():
        from receipt_counter.evaluation.evaluate import evaluate_saved

    report = evaluate_saved(
        run.model,
        dataset,
        split,
        from_yaml(run.directory / "config.yaml"),
        run.evaluation(split),
        progress.callback(f"evaluate {split}"),
    )
    metrics = {name: figure["value"] for name, figure in report["metrics"].items() if figure["value"] is not None}
    push(run.evaluation(split))
    with edited(run):
        # A baseline that a study shares with an experiment keeps the experiment's figures at the top.
        run.add_metrics(split, metrics, headline=split == "test" or "metrics" not in run.record)
    return metrics


def visualize(run: Run, progress: Progress) -> Path:
    """Draw a run's report.

    Args:
        run: trained and evaluated.
        progress: shows that it is at work.

    Returns:
        The page, report.html in the run's directory.
    """
    from receipt_counter.report.run_report import write_run_report

    progress.start("draw report", 1)
    page = write_run_report(run.directory)
    push(page)
    progress.finish()
    return page


def training_figures(run: Run) -> dict[str, float]:
    """What a finished training cost and where it ended, as flat numbers."""
    names = ("device_seconds", "peak_memory_gigabytes", "step", "epochs", "best_epoch")
    figures: dict[str, float] = {name: run.record[name] for name in names} | run.record["splits"]["val"]
    return figures


def gates_markdown(run: Run, split: str) -> str:
    """A split's figures against the promotion gates, as a Markdown table."""
    gates = read_json(run.evaluation(split) / "metrics.json")["gates"]
    return f"## Promotion gates, {split} split\n\n{markdown_gates(gates)}\n"


def run_markdown(run: Run, split: str) -> str:
    """A run in a few lines of Markdown: what it was, and its figures."""
    record, lineage = run.record, run.record["lineage"]
    facts = {
        "experiment": record["experiment_name"],
        "seed": record["seed"],
        "code": lineage["code_version"],
        "data": f"{lineage['data_name']} ({lineage['data_fingerprint']})",
        "trained": f"{record['epochs']} epochs, {record['step']} steps, {record['device_seconds']:.0f} s",
    }
    lines = [f"- {name}: {value}" for name, value in facts.items()]
    return "\n".join([f"# Run {run.directory.name}", "", *lines, "", gates_markdown(run, split)])
