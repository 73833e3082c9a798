"""`receipt-counter doctor`: what this machine, or a cluster, has and lacks."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from receipt_counter.cli.kubeflow import PRESET, add_server_options, refuse_kubeflow_options, with_namespace
from receipt_counter.cli.parser import Subparsers, add_command, add_settings_options, add_store_option
from receipt_counter.cli.plan import add_study_options

if TYPE_CHECKING:
    from receipt_counter.doctor import Finding

BACKENDS = ("local", "kubeflow")
STYLES = {"ok": "green", "absent": "yellow", "missing": "bold red"}


def add_commands(commands: Subparsers) -> None:
    """Add `doctor`."""
    parser = add_command(
        commands,
        "doctor",
        examine_machine,
        help="what this machine, or a cluster, has and lacks",
        examples=[
            "receipt-counter doctor",
            "receipt-counter doctor --json",
            "receipt-counter doctor --backend kubeflow --host https://kubeflow.example/pipeline --namespace team",
        ],
    )
    backends = "local: this machine (default); kubeflow: the kubeconfig's cluster"
    parser.add_argument("--backend", default="local", choices=BACKENDS, help=backends)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    add_store_option(parser)
    group = add_server_options(parser)
    add_settings_options(group)
    add_study_options(group)


def examine_machine(arguments: argparse.Namespace) -> int:
    """Print the findings; status 1 if something is missing that nothing works without."""
    from receipt_counter.doctor import MISSING

    title = "This machine" if arguments.backend == "local" else "The cluster"
    findings = _of_the_machine(arguments) if arguments.backend == "local" else _of_the_cluster(arguments)
    if arguments.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        _print(title, findings)
    return 1 if any(finding.state == MISSING for finding in findings) else 0


def _of_the_machine(arguments: argparse.Namespace) -> list[Finding]:
    from receipt_counter.doctor import examine
    from receipt_counter.storage.store import open_store

    refuse_kubeflow_options(arguments)
    return examine(open_store(arguments.store))


def _of_the_cluster(arguments: argparse.Namespace) -> list[Finding]:
    from receipt_counter.cluster_doctor.examine import examine
    from receipt_counter.config.loading import resolve

    overrides = with_namespace(arguments)
    resolved = resolve(Path(arguments.config) if arguments.config else None, arguments.preset, overrides, small=PRESET)
    found = examine(
        resolved.config.cluster,
        host=arguments.host,
        service_account=arguments.service_account,
        parallelism=_parallelism(arguments, resolved.preset),
    )
    return list(found)


def _parallelism(arguments: argparse.Namespace, preset: str) -> int:
    """The most trials that a study runs at a time, of those whose files are there."""
    from receipt_counter.study.ablation_file import read_ablation
    from receipt_counter.study.search_file import read_search

    found = [1]
    for path, read in ((arguments.hyperparameter_config, read_search), (arguments.ablation_config, read_ablation)):
        if path.is_file():
            found.append(read(path, preset).settings.parallelism)
    return max(found)


def _print(title: str, findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for column in ("", "state", "what"):
        table.add_column(column)
    for finding in findings:
        table.add_row(finding.name, Text(finding.state, style=STYLES[finding.state]), Text(finding.detail))
    Console().print(table)
