"""A trial as a process in a group of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from receipt_counter.engines.local.guardian import Guardian, has_exited, kill_group
from receipt_counter.katib.template import Container

_PYTHONS = ("python", "python3")
# Text that a shell would split at its spaces and leave alone otherwise.
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./ -]+")
# Waits for the engine's word, which comes once the guardian knows the group; then becomes the trial.
_GATE = 'read -r _ || exit 1; exec "$@" </dev/null'


@dataclass(frozen=True)
class Launch:
    """How a trial is started.

    Args:
        argv: program and arguments.
        environment: the whole environment.
        directory: where it runs.
        log: file its output is appended to.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    log: Path


class Process(Protocol):
    """A started trial."""

    @property
    def group(self) -> int | None:
        """Its process group; None until it is known."""

    def poll(self) -> int | None:
        """Its exit status, negative for a signal, once it ended; then nothing of its group is left."""

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its group."""


class Subprocess:
    """A trial that is a program of its own."""

    def __init__(self, launch: Launch, guardian: Guardian) -> None:
        with launch.log.open("ab") as output:
            self._process = subprocess.Popen(
                ["sh", "-c", _GATE, "trial", *launch.argv],
                env=dict(launch.environment),
                cwd=launch.directory,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._guardian = guardian
        guardian.watch(self._process.pid)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as gate:
            gate.write(b"\n")

    @property
    def group(self) -> int | None:
        """The process leads its group."""
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit status once it ended."""
        if self._process.returncode is None and has_exited(self._process.pid):
            kill_group(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._guardian.release(self._process.pid)
        return self._process.returncode

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its group."""
        if self._process.returncode is None:
            kill_group(self._process.pid, number)


def argv_of(container: Container, moved: Mapping[str, str]) -> tuple[str, ...]:
    """The program and arguments that do what Katib makes of a container's command and args.

    Katib joins both with spaces, quoting nothing, and gives the text to `sh -c` (or to the container's own shell,
    where its command begins with `sh -c` or `bash -c`). Where a shell would only split the text it is split here.

    Args:
        container: command and args.
        moved: {a path of the container: where it is on this machine}.
    """
    words = [move_paths(word, moved) for word in (*container.command, *container.args)]
    if words[:1] in (["sh"], ["bash"]) and words[1:2] == ["-c"]:
        return words[0], "-c", " ".join(words[2:])
    text = " ".join(words)
    argv = text.split()
    if argv[0] in _PYTHONS:
        program: str | None = sys.executable
    else:
        program = None if "=" in argv[0] else shutil.which(argv[0])
    if _PLAIN.fullmatch(text) and program is not None:
        return program, *argv[1:]
    return "sh", "-c", text


def environment_of(
    container: Container, moved: Mapping[str, str], more: Mapping[str, str], defaults: Mapping[str, str]
) -> dict[str, str]:
    """The whole environment of a trial. Later ones win: defaults < this process's < the container's < more.

    `python` and `python3` are this interpreter for every program the trial starts by name.
    """
    own = {name: move_paths(value, moved) for name, value in container.env.items()}
    path = own.get("PATH", os.environ.get("PATH", os.defpath))
    ours = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), path])}
    return {"PYTHONUNBUFFERED": "1", **defaults, **os.environ, **own, **ours, **more}


def move_paths(text: str, moved: Mapping[str, str]) -> str:
    """The text with paths of the container replaced by where they are here; the longest that fits wins."""
    if not moved:
        return text
    paths = sorted((path.rstrip("/") for path in moved), key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, paths))})(?![\w.-])")
    targets = {path.rstrip("/"): target for path, target in moved.items()}
    return pattern.sub(lambda match: targets[match[1]], text)


def module_arguments(argv: Sequence[str], module: str) -> list[str] | None:
    """The arguments after `python -m MODULE`, if that is what the program is."""
    if list(argv[:3]) == [sys.executable, "-m", module]:
        return list(argv[3:])
    return None
