"""Compile the pipelines for Kubeflow: `python -m pipelines DIRECTORY`, which `receipt-counter compile` calls."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipelines.ablation import ablation
from pipelines.all import everything
from pipelines.hyperparameter import hyperparameter
from pipelines.kubeflow.platform import package
from pipelines.single import single
from receipt_counter.cluster.pipelines import takes_security_context
from receipt_counter.config.cluster import Cluster
from receipt_counter.config.loading import from_yaml
from receipt_counter.storage.files import read_json, write_atomic

PIPELINES = {"single": single, "hyperparameter": hyperparameter, "ablation": ablation, "all": everything}


def compile_all(
    directory: Path,
    cluster: Cluster | None = None,
    studies: Mapping[str, str] | None = None,
    modes: Iterable[str] = tuple(PIPELINES),
    *,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
    security_context: bool = True,
) -> list[Path]:
    """Compile pipelines to YAML.

    Args:
        directory: where the files go; made if absent.
        cluster: where and on what their steps run; None takes the config's defaults.
        studies: {mode: name of its study}, for the pods' labels.
        modes: which pipelines.
        defaults: {mode: values of its pipeline's parameters}, for runs that are started in the UI.
        security_context: whether steps get one; Pipelines 2.15 refuses packages in which they do.

    Returns:
        The files written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for mode in modes:
        files.append(directory / f"{mode}.yaml")
        values = (defaults or {}).get(mode)
        whole = package(
            PIPELINES[mode], cluster or Cluster(), studies or {}, defaults=values, security_context=security_context
        )
        write_atomic(files[-1], whole)
    return files


def main() -> None:
    """Compile what the command line names, and print the files."""
    parser = argparse.ArgumentParser(description="Compile the pipelines for Kubeflow.")
    parser.add_argument("directory", nargs="?", type=Path, default=Path("build/pipelines"))
    parser.add_argument("--config", type=Path, help="a resolved config, as `receipt-counter config show --yaml` prints")
    parser.add_argument("--mode", action="append", choices=tuple(PIPELINES), help="only this pipeline; repeatable")
    parser.add_argument("--study", action="append", default=[], metavar="MODE=NAME", help="for the pods' labels")
    parser.add_argument("--defaults", type=Path, help="{mode: {parameter: value}}, as JSON")
    parser.add_argument("--pipelines-version", default="", metavar="VERSION", help="that the packages are for")
    arguments = parser.parse_args()
    cluster = from_yaml(arguments.config).cluster if arguments.config else Cluster()
    studies = dict(pair.split("=", 1) for pair in arguments.study)
    modes = arguments.mode or tuple(PIPELINES)
    secured = takes_security_context(arguments.pipelines_version)
    defaults = read_json(arguments.defaults) if arguments.defaults else {}
    compiled = compile_all(arguments.directory, cluster, studies, modes, defaults=defaults, security_context=secured)
    for written in compiled:
        print(written)


if __name__ == "__main__":
    main()
