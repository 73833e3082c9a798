"""`receipt-counter compile`, and `receipt-counter run --backend kubeflow`: the pipelines on a cluster.

What imports kfp (packages `pipelines` and `components`) runs in a process of its own, as on one machine.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import FrameType
from typing import TYPE_CHECKING, Any

from receipt_counter.cli.config import resolve_config
from receipt_counter.cli.parser import Subparsers, add_command, add_config_options
from receipt_counter.cli.plan import add_study_options
from receipt_counter.errors import UserError, suggestion
from receipt_counter.wakeup import STOP_SIGNALS

if TYPE_CHECKING:
    from receipt_counter.config.loading import Resolved
    from receipt_counter.config.schema import Config

PRESET = "full"  # what `--preset auto` takes: what this machine has says nothing about the cluster's
VERSIONS = ("2.15", "2.16", "2.17")
DEFAULT_EXPERIMENT = "receipt-counter"
_OPTIONS = ("host", "namespace", "service_account", "terminate_on_stop")


def add_commands(commands: Subparsers) -> None:
    """Add `compile`."""
    parser = add_command(
        commands,
        "compile",
        compile_pipelines,
        help="write the pipelines as packages that Kubeflow's UI takes, with the config's cluster settings and values",
        examples=[
            "receipt-counter compile -o build/pipelines",
            "receipt-counter compile --mode single -o build --set cluster.gpus=2 --set cluster.namespace=team",
        ],
    )
    parser.add_argument("--mode", metavar="MODE", help="only this pipeline: single, hyperparameter, ablation or all")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where the packages go")
    parser.add_argument("--experiment-name", metavar="NAME", help="recorded with a single run")
    parser.add_argument("--model-name", metavar="NAME", help="what a search's winner is promoted as")
    versions = f"of Pipelines: {', '.join(VERSIONS)} (default: the newest); 2.15 takes no security context"
    parser.add_argument("--pipelines-version", default=VERSIONS[-1], choices=VERSIONS, help=versions)
    add_study_options(parser)
    add_config_options(parser)


def add_kubeflow_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run` that only a cluster needs."""
    group = add_server_options(parser)
    group.add_argument("--terminate-on-stop", action="store_true", help="Ctrl-C ends the run too (default: it runs on)")


def add_server_options(parser: argparse.ArgumentParser) -> Any:
    """Add those that say where it runs; returns their group."""
    group = parser.add_argument_group("with --backend kubeflow")
    group.add_argument("--host", metavar="URL", help="of Kubeflow Pipelines (default: KF_PIPELINES_ENDPOINT)")
    add_namespace_option(group)
    group.add_argument("--service-account", metavar="NAME", help="of the steps (default: Pipelines' own)")
    return group


def add_namespace_option(group: Any) -> None:
    """Add the short form of a setting that is needed often; `with_namespace` reads it."""
    group.add_argument("--namespace", metavar="NAME", help="same as --set cluster.namespace=NAME")


def with_namespace(arguments: argparse.Namespace) -> list[str]:
    """What `--set` and `--namespace` say."""
    return [*arguments.overrides, *([f"cluster.namespace={arguments.namespace}"] if arguments.namespace else [])]


def refuse_kubeflow_options(arguments: argparse.Namespace) -> None:
    """Refuse them for another backend.

    Raises:
        UserError: one of them is given.
    """
    for name in _OPTIONS:
        if getattr(arguments, name, None):
            raise UserError(f"--{name.replace('_', '-')}: is for --backend kubeflow")


def compile_pipelines(arguments: argparse.Namespace) -> int:
    """Write the packages; the paths go to stdout, everything else to stderr."""
    from receipt_counter.cli.run import EXPERIMENTS, MODES, pipeline_parameters
    from receipt_counter.config.loading import to_yaml
    from receipt_counter.storage.files import write_json

    if arguments.mode is not None and arguments.mode not in MODES:
        raise UserError(f"--mode {arguments.mode}: no such choice; {suggestion(arguments.mode, MODES)}")
    _require_packages()
    modes = (arguments.mode,) if arguments.mode else MODES
    with contextlib.redirect_stdout(sys.stderr):
        resolved = _resolve(arguments)
        defaults: dict[str, dict[str, Any]] = {}
        studies: dict[str, str] = {}
        for mode in modes:
            chosen = argparse.Namespace(**{**vars(arguments), "mode": mode, "workers": None, "store": None})
            store = resolved.config.cluster.store
            defaults[mode] = pipeline_parameters(chosen, resolved, store, "", on_cluster=True)
            studies |= {kind: _study_name(defaults[mode][name]) for name, kind in EXPERIMENTS[mode].items()}
    with tempfile.TemporaryDirectory(prefix="receipt-counter-") as scratch:
        config, values = Path(scratch) / "config.yaml", Path(scratch) / "defaults.json"
        config.write_text(to_yaml(resolved.config), encoding="utf-8")
        write_json(values, defaults)
        options = ["--config", str(config), "--defaults", str(values)]
        options += ["--pipelines-version", arguments.pipelines_version]
        options += [f"--mode={mode}" for mode in modes]
        options += [f"--study={kind}={name}" for kind, name in studies.items()]
        return _run_module("pipelines", str(arguments.output), *options)


def run_on_kubeflow(arguments: argparse.Namespace) -> int:
    """Run a pipeline on a cluster and follow it to its end.

    Args:
        arguments: of `run`.
    """
    from receipt_counter.cli.run import EXPERIMENTS, pipeline_parameters
    from receipt_counter.cluster.pipelines import endpoint
    from receipt_counter.storage.files import write_json

    _require_packages()
    _refuse_local_options(arguments)
    host = endpoint(arguments.host)
    arguments.overrides = with_namespace(arguments)
    resolved = _resolve(arguments)
    parameters = pipeline_parameters(arguments, resolved, resolved.config.cluster.store, "", on_cluster=True)
    studies = {kind: _study_name(parameters[name]) for name, kind in EXPERIMENTS[arguments.mode].items()}
    request = {
        "mode": arguments.mode,
        "name": arguments.experiment_name or "-".join(studies.values()) or resolved.preset,
        "experiment": arguments.experiment_name or DEFAULT_EXPERIMENT,
        "config": parameters["config"],
        "parameters": parameters,
        "studies": studies,
        "host": host,
        "service_account": arguments.service_account,
        "terminate_on_stop": arguments.terminate_on_stop,
    }
    with tempfile.TemporaryDirectory(prefix="receipt-counter-") as scratch:
        file = Path(scratch) / "request.json"
        write_json(file, request)
        return _run_module("pipelines.kubeflow", str(file), str(os.getpid()))


def _resolve(arguments: argparse.Namespace) -> Resolved:
    """The config of what runs on a cluster, whose datasets are no paths of this machine."""
    if arguments.data:
        arguments.overrides.append(f"data.path={arguments.data}")
        arguments.data = None
    resolved = resolve_config(arguments, PRESET)
    for note in resolved.notes:
        print(note, flush=True)
    _require_reachable_data(resolved.config)
    return resolved


def _refuse_local_options(arguments: argparse.Namespace) -> None:
    if arguments.store is not None:
        raise UserError(
            "--store: with --backend kubeflow runs live where cluster.store says; for example"
            " --set cluster.store=s3://bucket/receipts"
        )
    if arguments.workers is not None:
        raise UserError(
            "--workers: has no effect with --backend kubeflow; `parallelism` in the study's file says how many trials"
            " run at a time"
        )


def _require_packages() -> None:
    for name, package in (("kfp", "kfp"), ("kfp.kubernetes", "kfp-kubernetes")):
        if importlib.util.find_spec(name) is None:
            raise UserError(f"{package} is not installed; install this project with its extra `local`")


def _require_reachable_data(config: Config) -> None:
    """Refuse a dataset that no pod could read; note what is not noticed of one that they can."""
    path, cluster = config.data.path, config.cluster
    if path is None:
        return
    if cluster.is_on_volume:
        reachable = PurePosixPath(path).is_relative_to(cluster.store)
        where = f"below {cluster.store}, where the volume {cluster.volume} is mounted (kubectl cp)"
    else:
        reachable = path.startswith("s3://")
        where = f"in the object store, for example {cluster.store.rstrip('/')}/datasets/NAME"
    if not reachable:
        raise UserError(
            f"data.path: {path}: pods do not see this machine's disks; copy the dataset to a directory {where},"
            " and name that with --data"
        )
    print(f"note: steps on {path} are cached by its name: give a changed dataset another one", flush=True)


def _study_name(experiment: str) -> str:
    """The name of the Experiment in a study's document."""
    import yaml

    documents: list[Mapping[str, Any]] = list(yaml.safe_load_all(experiment))
    return str(next(item for item in documents if item["kind"] == "Experiment")["metadata"]["name"])


def _run_module(module: str, *arguments: str) -> int:
    """Run a module of this project in a process of its own, which gets the signals that this one gets."""
    from receipt_counter.cli.local_pipeline import PROJECT

    path = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
    # A process group of its own: a terminal sends Ctrl-C to the whole foreground group, and once is enough.
    child = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], env={**os.environ, "PYTHONPATH": path}, process_group=0
    )

    def pass_on(number: int, frame: FrameType | None) -> None:
        child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in STOP_SIGNALS}
    try:
        status = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 - status if status < 0 else status
