"""The files images are made from, as far as they can be judged where no image can be built."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
DOCKERFILE = (PROJECT / "docker" / "Dockerfile").read_text()
DIGEST = "sha256:" + "0123456789abcdef" * 4


def test_dockerfile_passes_the_linter() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, "docker/Dockerfile"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def stage(name: str) -> list[str]:
    """A stage's instructions, with its first line."""
    (found,) = re.findall(rf"^FROM \S+ AS {name}\n.*?(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    return [line for line in found.splitlines() if line and not line.startswith("#")]


def test_bases_are_arguments_with_pinned_tags() -> None:
    bases = dict(re.findall(r"^ARG ([A-Z]+_IMAGE)=(\S+)$", DOCKERFILE, re.MULTILINE))
    stages = re.findall(r" AS (\S+)$", DOCKERFILE, re.MULTILINE)
    for origin in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE):
        assert origin in stages or origin.strip("${}") in bases
    assert all(re.search(r":\d+\.\d+\.\d+-", image) for image in bases.values())
    assert bases["PYTHON_IMAGE"].startswith("python:3.11.")


def test_both_images_hold_the_same_code_and_end_alike() -> None:
    """What CI does not build differs from what it builds and tests in its base and its dependencies only."""
    ours, theirs = ([line for line in stage(name)[1:] if ".description" not in line] for name in ("cpu", "gpu"))
    assert ours == theirs
    assert not re.search("^HEALTHCHECK|^ENTRYPOINT", DOCKERFILE, re.MULTILINE)


def test_requirements_are_those_of_the_project_and_its_extras() -> None:
    script = [sys.executable, "docker/requirements.py", "local"]
    lines = subprocess.run(script, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {"torch==2.13.0", "kfp==2.17.0", "docker"} <= set(lines)
    assert "pytest" not in lines


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """What `make lock-images` works on, with a digest of yesterday."""
    for name in ("Dockerfile", "lock.sh"):
        shutil.copy(PROJECT / "docker" / name, tmp_path)
    (tmp_path / "images.lock").write_text("of yesterday\n")
    return tmp_path


def lock(directory: Path, answer: str) -> subprocess.CompletedProcess[str]:
    """Run the script where a command of ours stands for the engine's: `answer` is a line of shell."""
    engine = directory / "engine"
    engine.write_text(f"#!/bin/sh\n{answer}\n")
    engine.chmod(0o755)
    environment = {**os.environ, "DOCKER": str(engine)}
    return subprocess.run([directory / "lock.sh"], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "answer",
    ["echo no such command >&2; exit 1", "echo", "echo latest", f"case $* in *nvidia*) exit 1;; esac; echo {DIGEST}"],
    ids=["no registry", "empty answer", "no digest", "only one of the two"],
)
def test_digests_are_never_invented(directory: Path, answer: str) -> None:
    done = lock(directory, answer)
    assert done.returncode == 1
    assert "images.lock is unchanged" in done.stderr
    assert (directory / "images.lock").read_text() == "of yesterday\n"


def test_digests_are_written_beside_their_tags(directory: Path) -> None:
    assert lock(directory, f"echo {DIGEST}").returncode == 0
    locked = [line for line in (directory / "images.lock").read_text().splitlines() if not line.startswith("#")]
    bases = re.findall(r"^ARG ([A-Z]+_IMAGE=\S+)$", DOCKERFILE, re.MULTILINE)
    assert locked == [f"{base}@{DIGEST}" for base in bases]
