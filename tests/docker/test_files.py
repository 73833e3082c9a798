"""The files images are made from, as far as they can be judged where no image can be built."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import signal
import subprocess
import sys
import time
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
def project(tmp_path: Path) -> Path:
    """What the scripts of docker/ need, with a digest of yesterday."""
    shutil.copytree(PROJECT / "docker", tmp_path / "docker", ignore=shutil.ignore_patterns("*.whl"))
    (tmp_path / "docker" / "images.lock").write_text("of yesterday\n")
    (tmp_path / "receipt_counter").mkdir()
    shutil.copy(PROJECT / "receipt_counter" / "__init__.py", tmp_path / "receipt_counter")
    return tmp_path


def with_engine(project: Path, answer: str) -> dict[str, str]:
    """The environment in which a line of shell is the engine's command."""
    engine = project / "engine"
    engine.write_text(f"#!/bin/sh\n{answer}\n")
    engine.chmod(0o755)
    return {**os.environ, "DOCKER": str(engine)}


@pytest.mark.parametrize(
    "answer",
    ["echo no such command >&2; exit 127", "echo pulled", "echo Digest: latest", f"echo Digest: {DIGEST}; exit 1"],
    ids=["no engine", "no digest told", "no digest", "failed after all"],
)
def test_digests_are_never_invented(project: Path, answer: str) -> None:
    """What no registry of test_bases.py does, but an engine or another one's command under its name may."""
    done = subprocess.run(
        [project / "docker" / "lock.sh"],
        env=with_engine(project, answer),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "images.lock is unchanged" in done.stderr
    assert (project / "docker" / "images.lock").read_text() == "of yesterday\n"


def test_pip_is_told_in_the_build_what_it_is_told_here(project: Path, tmp_path: Path) -> None:
    """But for what no other machine reaches: directories, of which the wheels are copied."""
    wheels, certificate, settings = tmp_path / "wheels", tmp_path / "ca.pem", tmp_path / "mine.conf"
    wheels.mkdir()
    (wheels / "torch-1-py3-none-any.whl").touch()
    certificate.write_text("a certificate")
    settings.write_text(f"""\
[download]
index-url = https://download.example/simple
[global]
index-url = https://global.example/simple
proxy = http://proxy.example:3128
extra-index-url =
    https://one.example/simple
    file:///srv/simple
    https://two.example/simple
find-links =
    {wheels}
    https://links.example/wheels
cert = {certificate}
default-timeout = 7
[install]
index-url = https://install.example/simple
""")
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PIP_")}
    environment |= {"PIP_CONFIG_FILE": str(settings), "PIP_DEFAULT_TIMEOUT": "9", "PYTHON": sys.executable}
    script = f"set -eu; scratch={tmp_path}/made; mkdir $scratch; . docker/pip_settings.sh"
    subprocess.run(["sh", "-c", script], cwd=project, env=environment, check=True)
    told = configparser.ConfigParser()
    told.read(tmp_path / "made" / "pip.conf")
    assert {name: told["global"][name] for name in ("index-url", "proxy", "extra-index-url", "find-links")} == {
        "index-url": "https://install.example/simple",
        "proxy": "http://proxy.example:3128",
        "extra-index-url": "https://one.example/simple https://two.example/simple",
        "find-links": "https://links.example/wheels",
    }
    assert (told["global"]["default-timeout"], told["global"]["cert"]) == ("9", "/run/secrets/ca.pem")
    assert (tmp_path / "made" / "ca.pem").read_text() == "a certificate"
    assert [path.name for path in (project / "docker" / "wheels").glob("*.whl")] == ["torch-1-py3-none-any.whl"]


def test_a_stopped_build_leaves_nothing_of_pips_settings(project: Path, tmp_path: Path) -> None:
    """They may hold an index's password."""
    (project / "docker" / "images.lock").unlink()
    scratch, started = tmp_path / "scratch", tmp_path / "started"
    scratch.mkdir()
    process = subprocess.Popen(
        [project / "docker" / "build.sh", "cpu"],
        env={
            **with_engine(project, f"touch {started}; exec sleep 60"),
            "TMPDIR": str(scratch),
            "PIP_FIND_LINKS": "",
            "PIP_INDEX_URL": "https://user:password@index.example/simple",
        },
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None and not started.exists():
        time.sleep(0.02)
    assert "password" in "".join(path.read_text() for path in scratch.rglob("pip.conf"))
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(timeout=30) != 0
    assert list(scratch.iterdir()) == []
