"""The images' bases by their digests, with a real registry: what is locked, and what builds then take."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import docker
import pytest

from tests.docker.conftest import PROJECT
from tests.docker.registry import Registry, serve

pytestmark = pytest.mark.usefixtures("alone")

PYTHON, CUDA = "python:3.11.0-slim", "cuda:13.0.0-base"
# The two stages that bases are of. What comes after them needs no registry: test_image.py builds it.
DOCKERFILE = """\
ARG PYTHON_IMAGE={python}
ARG CUDA_IMAGE={cuda}
FROM ${{PYTHON_IMAGE}} AS cpu
FROM ${{CUDA_IMAGE}} AS gpu
"""


@pytest.fixture
def project(registry: Registry, tmp_path: Path) -> Path:
    """A project whose bases are in a registry of its own."""
    registry.push(PYTHON, "python")
    registry.push(CUDA, "cuda")
    root = tmp_path / "project"
    shutil.copytree(PROJECT / "docker", root / "docker", ignore=shutil.ignore_patterns("*.whl", "images.lock"))
    shutil.copy(PROJECT / "Makefile", root)
    names = {"python": f"{registry.address}/{PYTHON}", "cuda": f"{registry.address}/{CUDA}"}
    (root / "docker" / "Dockerfile").write_text(DOCKERFILE.format(**names))
    (root / "receipt_counter").mkdir()
    (root / "receipt_counter" / "__init__.py").write_text('__version__ = "0.0.2"\n')
    return root


def run(project: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_IMAGE")}
    environment["PYTHON"] = "false"  # nothing is installed: what this machine's pip is told plays no part
    return subprocess.run(
        command, cwd=project, env={**environment, **variables}, capture_output=True, text=True, check=False
    )


def lock(project: Path, **variables: str) -> list[str]:
    """What is locked, as `make lock-images` leaves it."""
    done = run(project, "make", "lock-images", **variables)
    assert done.returncode == 0, done.stderr
    return locked(project)


def locked(project: Path) -> list[str]:
    text = (project / "docker" / "images.lock").read_text()
    return [line for line in text.splitlines() if not line.startswith("#")]


def build(project: Path, registry: Registry, target: str = "cpu", **variables: str) -> list[str]:
    """The layers of the image that is built, and removed, by an engine that knows no base yet."""
    registry.forget()
    done = run(project, "docker/build.sh", target, **variables)
    assert done.returncode == 0, done.stderr
    image = registry.engine.images.get(done.stdout.splitlines()[-1])
    image.remove()
    layers: list[str] = image.attrs["RootFS"]["Layers"]
    return layers


def test_what_is_locked_is_what_the_registry_says(project: Path, registry: Registry) -> None:
    expected = [f"{registry.address}/{name}@{registry.digest(name)}" for name in (PYTHON, CUDA)]
    assert lock(project) == expected
    registry.push(PYTHON, "python of tomorrow")
    assert locked(project) == expected
    again = lock(project)
    assert again == [f"{registry.address}/{PYTHON}@{registry.digest(PYTHON)}", expected[1]]
    assert again != expected


def test_an_image_of_several_platforms_is_locked_for_all_of_them(project: Path, registry: Registry) -> None:
    """By its index, and by today's: the engine also knows the digests by which it pulled the same image before."""
    here = registry.engine.version()["Arch"]
    ours, other, newer = (f"{PYTHON}-{name}" for name in ("ours", "other", "newer"))
    parts = {name: registry.push(name, name) for name in (ours, other, newer)}
    for theirs in (other, newer):
        index = registry.push_index(PYTHON, {"s390x": theirs, here: ours})
        assert index not in parts.values()
        assert lock(project)[0] == f"{registry.address}/{PYTHON}@{index}"
    known = registry.engine.images.get(f"{registry.address}/{PYTHON}").attrs["RepoDigests"]
    assert len(known) == 2


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_builds_take_the_base_that_was_locked(project: Path, registry: Registry, target: str) -> None:
    before = build(project, registry, target)
    lock(project)
    for name in (PYTHON, CUDA):
        registry.push(name, f"another {name}")
    assert build(project, registry, target) == before
    (project / "docker" / "images.lock").unlink()
    assert build(project, registry, target) != before  # the tag decides


def test_bases_that_the_environment_names_are_locked_and_taken_alike(project: Path, registry: Registry) -> None:
    registry.push("mirror/" + PYTHON, "mirrored")
    mirror = {"PYTHON_IMAGE": f"{registry.address}/mirror/{PYTHON}"}
    before = build(project, registry, **mirror)
    assert lock(project, **mirror)[0] == f"{mirror['PYTHON_IMAGE']}@{registry.digest('mirror/' + PYTHON)}"
    registry.push("mirror/" + PYTHON, "mirrored anew")
    assert build(project, registry, **mirror) == before
    # Another base than was locked: one that is named is taken, the Dockerfile's own would be a tag taken for a digest.
    by_digest = f"{registry.address}/{PYTHON}@{registry.digest(PYTHON)}"
    assert build(project, registry, PYTHON_IMAGE=by_digest) != before
    refused = run(project, "docker/build.sh", "cpu")
    assert refused.returncode == 1
    assert f"docker/images.lock does not have the Dockerfile's {registry.address}/{PYTHON}; 'make" in refused.stderr


def test_a_base_that_is_named_by_its_digest_is_locked_by_it(project: Path, registry: Registry) -> None:
    by_digest = f"{registry.address}/{PYTHON}@{registry.digest(PYTHON)}"
    registry.push(PYTHON, "another")
    assert lock(project, PYTHON_IMAGE=by_digest)[0] == by_digest


@pytest.mark.parametrize("fault", ["gone", "only one of the two", "half a layer"])
def test_what_no_registry_tells_is_not_locked(
    fault: str, project: Path, engine: docker.DockerClient, registry: Registry, tmp_path: Path
) -> None:
    before = lock(project)
    registry.push(PYTHON, "another")
    cuda = f"{registry.address}/{CUDA}"
    if fault == "gone":
        directory = tmp_path / "other"
        directory.mkdir()
        with serve(engine, directory) as other:
            cuda = f"{other.address}/{CUDA}"
    elif fault == "only one of the two":
        cuda += "-of-tomorrow"
    else:
        registry.forget()
        registry.truncate_layers()
    done = run(project, "make", "lock-images", CUDA_IMAGE=cuda)
    assert done.returncode != 0
    failed = f"PYTHON_IMAGE, {registry.address}/{PYTHON}" if fault == "half a layer" else f"CUDA_IMAGE, {cuda}"
    assert f"error: no registry told the digest of {failed} (docker pull)" in done.stderr
    assert "docker/images.lock is unchanged" in done.stderr
    assert locked(project) == before
    assert [path.name for path in (project / "docker").glob("images.lock*")] == ["images.lock"]
