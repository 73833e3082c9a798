"""`receipt-counter run`: run an experiment, a search, an ablation study, or all of them, as a pipeline."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from receipt_counter.cli.config import resolve_config
from receipt_counter.cli.kubeflow import add_kubeflow_options, refuse_kubeflow_options
from receipt_counter.cli.parser import Subparsers, add_command, add_config_options, add_store_option, add_workers_option
from receipt_counter.cli.plan import SMALL_PRESET, STUDIES, add_study_options
from receipt_counter.errors import UserError, suggestion

if TYPE_CHECKING:
    from receipt_counter.config.loading import Resolved

MODES = ("single", *STUDIES, "all")
BACKENDS = ("local", "docker", "kubeflow")
# the pipelines' parameters that hold each study's Experiment
EXPERIMENTS = {
    "single": {},
    "hyperparameter": {"experiment": "hyperparameter"},
    "ablation": {"experiment": "ablation"},
    "all": {"search_experiment": "hyperparameter", "ablation_experiment": "ablation"},
}


def add_commands(commands: Subparsers) -> None:
    """Add `run`."""
    parser = add_command(
        commands,
        "run",
        run,
        help="run an experiment, a search, an ablation study, or all of them, from data to report",
        examples=[
            "receipt-counter run --mode single",
            "receipt-counter run --mode single --preset laptop --set training.learning_rate=1e-3 --seed 7",
            "receipt-counter run --mode single --data my-receipts --experiment-name real",
            "receipt-counter run --mode all --preset study",
            "receipt-counter run --mode ablation --backend kubeflow --host https://kubeflow.example/pipeline",
        ],
    )
    modes = "single: one experiment (default); hyperparameter: a search; ablation: which parts matter; all: these three"
    parser.add_argument("--mode", default="single", metavar="MODE", help=modes)
    backends = "local: on this machine (default); docker: here, each step in its image; kubeflow: on a cluster"
    parser.add_argument("--backend", default="local", metavar="NAME", help=backends)
    parser.add_argument("--experiment-name", metavar="NAME", help="recorded with the run (default: the preset's name)")
    parser.add_argument(
        "--model-name", metavar="NAME", help="what a search's winner is promoted as (default: receipt-counter)"
    )
    add_kubeflow_options(parser)
    add_workers_option(parser)
    add_study_options(parser)
    add_store_option(parser)
    add_config_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the pipeline and sum up what it found."""
    if arguments.backend not in BACKENDS:
        raise UserError(f"--backend {arguments.backend}: no such choice; {suggestion(arguments.backend, BACKENDS)}")
    if arguments.mode not in MODES:
        raise UserError(f"--mode {arguments.mode}: no such choice; {suggestion(arguments.mode, MODES)}")
    if importlib.util.find_spec("kfp") is None:
        raise UserError("kfp is not installed; install this project with its extra `local`: pip install '.[local]'")
    if arguments.backend == "kubeflow":
        from receipt_counter.cli.kubeflow import run_on_kubeflow

        return run_on_kubeflow(arguments)
    refuse_kubeflow_options(arguments)
    from receipt_counter.data.dataset import Dataset
    from receipt_counter.progress import terminal_sink
    from receipt_counter.storage.store import open_store
    from receipt_counter.storage.sync import locate

    store = open_store(arguments.store)
    resolved = resolve_config(arguments, "laptop" if arguments.mode == "single" else SMALL_PRESET)
    for note in resolved.notes:
        print(note, flush=True)
    data = resolved.config.data.path
    fingerprint = Dataset.open(locate(data)).fingerprint if data else ""
    parameters = pipeline_parameters(arguments, resolved, store.location, fingerprint)
    from receipt_counter.cli.local_pipeline import run_pipeline
    from receipt_counter.cli.summary import print_summary

    in_containers = None
    if arguments.backend == "docker":
        from receipt_counter.cli.containers import containers

        in_containers = containers(store, resolved.config)
    result = run_pipeline(store, arguments.mode, parameters, terminal_sink(sys.stderr), in_containers)
    print_summary(arguments.mode, result)
    return 0


def pipeline_parameters(
    arguments: argparse.Namespace,
    resolved: Resolved,
    store: str,
    data_fingerprint: str,
    *,
    on_cluster: bool = False,
) -> dict[str, Any]:
    """A pipeline's parameters; says what the studies will try and cost.

    Args:
        arguments: with the options of `run`.
        resolved: the config.
        store: where runs live, as the steps see it.
        data_fingerprint: of the user's own dataset, or empty.
        on_cluster: whether the steps run on one.
    """
    from receipt_counter.config.loading import to_yaml
    from receipt_counter.storage.registry import DEFAULT_MODEL
    from receipt_counter.storage.versions import code_version

    mode = arguments.mode
    parameters: dict[str, Any] = {
        "config": to_yaml(resolved.config),
        "store": store,
        "code_version": code_version(),
        "data_fingerprint": data_fingerprint,
    }
    if mode in ("single", "all"):
        parameters["experiment_name"] = arguments.experiment_name or resolved.preset
    if mode in ("hyperparameter", "all"):
        parameters["model_name"] = arguments.model_name or DEFAULT_MODEL
    if mode != "single":
        parameters["workers"] = arguments.workers or 0
        parameters["engine"] = "katib" if on_cluster else "local"
    experiments = {name: _experiment(arguments, kind, resolved, on_cluster) for name, kind in EXPERIMENTS[mode].items()}
    return {**parameters, **experiments}


def _experiment(arguments: argparse.Namespace, kind: str, resolved: Resolved, on_cluster: bool) -> str:
    """A study's Experiment, as YAML."""
    from receipt_counter.cli.plan import make_plan, plan_cost, plan_title, refuse_over_budget
    from receipt_counter.katib.experiment import document_text

    planned = make_plan(arguments, kind, resolved, on_cluster=on_cluster)
    print(f"{kind}: {plan_title(planned)}; {plan_cost(planned)}", flush=True)
    for note in planned.notes:
        print(f"  note: {note}", flush=True)
    refuse_over_budget(planned, None)
    return document_text(planned.document)
