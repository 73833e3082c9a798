"""`receipt-counter tensorboard`: watch runs and studies, here or on a cluster."""

from __future__ import annotations

import argparse
import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from receipt_counter.cli.kubeflow import add_namespace_option, with_namespace
from receipt_counter.cli.parser import Subparsers, add_command, add_config_options, add_store_option
from receipt_counter.errors import UserError

if TYPE_CHECKING:
    from receipt_counter.cluster.tensorboard import TensorBoard, TensorBoards

BACKENDS = ("local", "kubeflow")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_EXPERIMENT = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # a name that labels and Services can have too
_OF_KUBEFLOW = ("namespace", "kind", "delete", "list", "prune", "older_than")


def add_commands(commands: Subparsers) -> None:
    """Add `tensorboard`."""
    parser = add_command(
        commands,
        "tensorboard",
        tensorboard,
        help="TensorBoard over all runs, or those of a study, under their names; here or on a cluster",
        examples=[
            "receipt-counter tensorboard",
            "receipt-counter tensorboard ablation",
            "receipt-counter tensorboard ablation-1a2b3c4d --backend kubeflow",
            "receipt-counter tensorboard --backend kubeflow --list",
            "receipt-counter tensorboard --backend kubeflow --prune --older-than 7d",
        ],
    )
    parser.add_argument(
        "study", nargs="?", metavar="STUDY", help="a study: the beginning of its name, or its directory"
    )
    parser.add_argument("--backend", default="local", choices=BACKENDS, help="local: here (default); kubeflow")
    add_store_option(parser)
    here = parser.add_argument_group("here")
    here.add_argument("--host", default="localhost", metavar="NAME", help="where it listens (default: localhost)")
    here.add_argument("--port", default=6006, type=int, metavar="N", help="(default: 6006)")
    here.add_argument("--path-prefix", default="", metavar="PATH", help="of its pages, behind a gateway")
    here.add_argument("--wait", action="store_true", help="STUDY is its whole name, and it may not have begun")
    there = parser.add_argument_group("with --backend kubeflow", "STUDY is the name of the Experiment there")
    add_namespace_option(there)
    there.add_argument(
        "--kind",
        choices=("deployment", "tensorboard"),
        help="deployment: ours, which shows the study alone (default); tensorboard: Kubeflow's object",
    )
    actions = there.add_mutually_exclusive_group()
    actions.add_argument("--delete", action="store_true", help="delete the study's")
    actions.add_argument("--list", action="store_true", help="list those that are there")
    actions.add_argument("--prune", action="store_true", help="delete those that are --older-than")
    there.add_argument("--older-than", type=_age, metavar="AGE", help="30m, 12h, 7d or 2w since it was last asked for")
    add_config_options(parser)


def _age(text: str) -> timedelta:
    match = re.fullmatch(r"(\d+)([mhdw])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not an age, such as 30m, 12h, 7d or 2w")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def tensorboard(arguments: argparse.Namespace) -> int:
    """Serve it here, or do what is asked on the cluster."""
    if arguments.backend == "kubeflow":
        return _there(arguments)
    given = [name for name in _OF_KUBEFLOW if getattr(arguments, name)]
    if given:
        raise UserError(f"--{given[0].replace('_', '-')}: is for --backend kubeflow")
    return _here(arguments)


def _here(arguments: argparse.Namespace) -> int:
    from receipt_counter.storage.store import open_store
    from receipt_counter.tensorboard import fetched, serve

    store, study = open_store(arguments.store), arguments.study
    if study is not None and not arguments.wait:
        study = store.find_study(study).name

    def tell(url: str, shown: int) -> None:
        what = f"study {study}" if study else f"{store.root}"
        print(f"TensorBoard: {url} ({shown} runs of {what}; Ctrl-C ends it)", flush=True)

    prefix = arguments.path_prefix.rstrip("/")
    with fetched(store.runs):
        return serve(store.runs, study, host=arguments.host, port=arguments.port, path_prefix=prefix, on_start=tell)


def _there(arguments: argparse.Namespace) -> int:
    from receipt_counter.cli.config import resolve_config
    from receipt_counter.cluster.connection import PATIENT, Connection
    from receipt_counter.cluster.objects import Objects
    from receipt_counter.cluster.tensorboard import TensorBoards

    if arguments.prune != (arguments.older_than is not None):
        raise UserError("--prune and --older-than go together: --prune --older-than 7d")
    for_all = arguments.list or arguments.prune
    if for_all == (arguments.study is not None):
        raise UserError("name a STUDY, or use --list or --prune" if not for_all else "--list and --prune take no STUDY")
    if arguments.study is not None and not _EXPERIMENT.fullmatch(arguments.study):
        raise UserError(
            f"{arguments.study}: no name of an Experiment, such as ablation-1a2b3c4d (kubectl get experiments)"
        )
    arguments.overrides = with_namespace(arguments)
    cluster = resolve_config(arguments).config.cluster
    boards = TensorBoards(Objects(Connection(time.sleep, PATIENT), cluster.namespace), cluster)
    if for_all:
        return _print_all(boards.prune(arguments.older_than) if arguments.prune else boards.all(), arguments.prune)
    if arguments.delete:
        print(f"{'deleted' if boards.delete(arguments.study) else 'there was none'}: {arguments.study}")
        return 0
    return _make(boards, arguments.study, arguments.kind or "deployment", cluster.namespace)


def _make(boards: TensorBoards, study: str, kind: str, namespace: str) -> int:
    from receipt_counter.cluster.tensorboard import reach

    made = boards.make(study, kind)
    owned = boards.own(study)
    print(reach(made, namespace))
    if not owned:
        print(f"no Experiment {study} in namespace {namespace}: it is not deleted with one; --delete and --prune do")
    return 0


def _print_all(boards: list[TensorBoard], deleted: bool) -> int:
    for board in boards:
        link = board.link or "no gateway"
        print(f"{board.study}  {board.kind}  {board.created:%Y-%m-%d %H:%M}  {'deleted' if deleted else link}")
    if not boards:
        print("none")
    return 0
