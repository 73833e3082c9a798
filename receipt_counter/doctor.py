"""What this machine has and lacks."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from receipt_counter.config.loading import PRESETS_DIRECTORY
from receipt_counter.config.source import read_yaml
from receipt_counter.config.weights import find_weights
from receipt_counter.errors import UserError
from receipt_counter.storage.store import Store
from receipt_counter.storage.sync import mirror_of

OK, ABSENT, MISSING = "ok", "absent", "missing"
LEAST_FREE_GIGABYTES = 2.0


@dataclass(frozen=True)
class Finding:
    """One thing looked for.

    Args:
        name: what it is.
        state: OK; ABSENT: not here, and something optional is impossible without it; MISSING: nothing works without it.
        detail: what was found, or what its absence means and how to mend it.
    """

    name: str
    state: str
    detail: str


def examine(store: Store) -> list[Finding]:
    """Look at everything.

    Args:
        store: the store that runs will use.

    Returns:
        One finding for each thing looked for.
    """
    checks: tuple[Callable[[], Finding], ...] = (
        _python,
        lambda: _package("torch", "torch", "it trains the models: pip install torch", required=True),
        lambda: _package("transformers", "transformers", "it holds the models", required=True),
        lambda: _package("deepspeed", "deepspeed", "it runs the training", required=True),
        lambda: _package("kfp", "kfp", "it runs pipelines: install this project with its extra `local`", required=True),
        _threads,
        _gpu,
        _compiler,
        _weights,
        _cluster,
        lambda: _store(store),
        lambda: _disk(store),
    )
    return [check() for check in checks]


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info[:2] == (3, 11):
        return Finding("python", OK, f"{version} at {sys.executable}")
    return Finding("python", MISSING, f"{version}: this project needs 3.11")


def _package(name: str, module: str, purpose: str, *, required: bool) -> Finding:
    if importlib.util.find_spec(module) is None:
        return Finding(name, MISSING if required else ABSENT, purpose)
    return Finding(name, OK, metadata.version(name))


def _threads() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS")
    return Finding(
        "cores", OK, f"{cores}" + (f", of which OMP_NUM_THREADS lets one process use {limit}" if limit else "")
    )


def _gpu() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding("gpu", ABSENT, "unknown without torch")
    import torch

    if not torch.cuda.is_available():
        return Finding("gpu", ABSENT, "none that torch can use: the laptop preset trains on the processor")
    names = ", ".join(
        f"{torch.cuda.get_device_name(i)} ({torch.cuda.get_device_properties(i).total_memory / 1e9:.0f} GB)"
        for i in range(torch.cuda.device_count())
    )
    return Finding("gpu", OK, names)


def _compiler() -> Finding:
    compiler = next((path for name in ("g++", "c++", "clang++") if (path := shutil.which(name))), None)
    if compiler:
        return Finding("compiler", OK, compiler)
    return Finding("compiler", ABSENT, "no C++ compiler: nothing here needs one")


def _weights() -> Finding:
    checkpoint = next(str(s.value) for s in read_yaml(PRESETS_DIRECTORY / "full.yaml") if s.name == "model.checkpoint")
    found = find_weights(checkpoint)
    if found:
        return Finding("weights", OK, f"{checkpoint} at {found}")
    return Finding(
        "weights",
        ABSENT,
        f"{checkpoint} is not here: the preset `full` needs it; --set model.checkpoint=DIR names others",
    )


def _cluster() -> Finding:
    config = Path(os.environ.get("KUBECONFIG", Path.home() / ".kube" / "config"))
    inside = "KUBERNETES_SERVICE_HOST" in os.environ
    if inside:
        return Finding("cluster", OK, "this process runs in one")
    if config.is_file():
        return Finding("cluster", OK, f"configured in {config}")
    return Finding("cluster", ABSENT, f"no {config}: everything runs on this machine")


def _store(store: Store) -> Finding:
    mirror = mirror_of(store.root)
    if mirror is not None:
        try:
            mirror.bucket.probe()
        except UserError as error:
            return Finding("store", MISSING, error.message)
        return Finding("store", OK, f"{store.location} at {mirror.bucket.server.endpoint}, mirrored in {store.root}")
    place = _nearest_existing(store.root)
    try:
        with tempfile.TemporaryFile(dir=place):
            return Finding("store", OK, f"{store.root} ({'there' if store.root == place else 'made when first used'})")
    except OSError as error:
        return Finding(
            "store", MISSING, f"{store.root} cannot be written: {error.strerror}; choose another with --store"
        )


def _disk(store: Store) -> Finding:
    free = shutil.disk_usage(_nearest_existing(store.root)).free / 1e9
    if free >= LEAST_FREE_GIGABYTES:
        return Finding("disk", OK, f"{free:.1f} GB free for the store")
    return Finding("disk", MISSING, f"{free:.1f} GB free for the store; {LEAST_FREE_GIGABYTES:g} GB are needed")


def _nearest_existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())
