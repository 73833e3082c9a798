"""The engine of this machine and the image built on it; without an engine these tests are skipped."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import ContainerError, DockerException

from tests.docker.registry import Registry, serve

PROJECT = Path(__file__).resolve().parents[2]
USER = 54321  # nobody's: no line of /etc/passwd names it

Inside = Callable[..., str]


def build(project: Path) -> str:
    """Build a project's CPU image; what the build said. The image's tag is the last line."""
    built = subprocess.run(
        [project / "docker" / "build.sh", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout[-4000:]
    return built.stdout


@pytest.fixture(scope="session")
def engine() -> docker.DockerClient:
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        pytest.skip(f"no container engine answers (.ci/run starts one): {error}")
    return client


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No other worker removes images meanwhile: kfp's runner fails if one goes while it lists them, one by one."""
    with (tmp_path_factory.getbasetemp().parent / "engine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def registry(engine: docker.DockerClient, tmp_path: Path) -> Iterator[Registry]:
    directory = tmp_path / "registry"
    directory.mkdir()
    with serve(engine, directory) as started:
        yield started


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> str:
    return build(PROJECT).splitlines()[-1]


@pytest.fixture(scope="session")
def inside(engine: docker.DockerClient, image: str) -> Inside:
    """Runs a command in the image, as any user and unable to write anywhere but below /tmp; what it printed."""

    def run(*command: str) -> str:
        restricted = {"user": f"{USER}:0", "read_only": True, "tmpfs": {"/tmp": "mode=1777"}, "cap_drop": ["ALL"]}
        try:
            output = engine.containers.run(
                image, list(command), remove=True, stderr=True, network_disabled=True, **restricted
            )
        except ContainerError as error:
            pytest.fail(f"{error.exit_status}: {error.stderr.decode()}")
        return output.decode()

    return run


def give(directory: Path) -> Path:
    """Let the steps own a directory and what is in it: root's becomes a user's, everybody else's is theirs already."""
    if os.geteuid() == 0:
        for path in (directory, *directory.rglob("*")):
            os.chown(path, USER, 0)
    return directory
