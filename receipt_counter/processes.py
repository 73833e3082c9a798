"""Processes that never outlive the command that started them, however it dies.

Two nets, because neither alone is whole:

- `supervise` gives the child a process group of its own and a guardian: a tiny shell outside that group, waiting on a
  pipe that only this process holds open. When this process dies, `kill -9` included, the pipe closes and the guardian
  kills the group. It works for programs that know nothing of it, such as the shells kfp puts around each step.
- `die_with_parent`, called first in a child of ours, asks the kernel to kill it with its parent. It works for children
  that leave the group, such as the ones torchrun starts in sessions of their own.

A step in a container is neither in the group nor a child: it names whom it dies with by `die_with`.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

import psutil

from receipt_counter.wakeup import STOP_SIGNALS

POLL_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
# An empty line means "all is over, do nothing"; end of file means that the writer died.
_GUARDIAN = 'if read -r _; then exit 0; fi; kill -s KILL -- "-$1" 2>/dev/null'


def die_with_parent(parent: int | None = None) -> None:
    """Make this process die when its parent does; call it first in a child process.

    Args:
        parent: the process id the parent is known to have; finds out that it died before this call.
    """
    before = os.getppid() if parent is None else parent
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch_parent, args=(before,), daemon=True).start()
    spawner = multiprocessing.parent_process()
    if os.getppid() != before or (spawner is not None and not spawner.is_alive()):
        os.kill(os.getpid(), signal.SIGKILL)


def die_with(process: int) -> None:
    """Make this process die when another one does that is not its parent.

    Args:
        process: its id, in this process's own namespace of ids.
    """
    threading.Thread(target=_watch, args=(process,), daemon=True).start()


def _watch(process: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        watched = psutil.Process(process)
        while watched.is_running() and watched.status() != psutil.STATUS_ZOMBIE:
            time.sleep(POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


class Supervised:
    """A child in its own process group, which dies with this process. Made by `supervise`.

    Attributes:
        stop_signal: the first signal that asked this process to stop, or None.
    """

    def __init__(self) -> None:
        self.stop_signal: signal.Signals | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._guardian: subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Start the child, and the guardian that outlives this process by the time it takes to kill the child."""
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._guardian = subprocess.Popen(
            ["sh", "-c", _GUARDIAN, "guardian", str(self._child.pid)], stdin=subprocess.PIPE, start_new_session=True
        )

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Remember the first request to stop; the second one is meant."""
        if self.stop_signal is not None:
            self.kill()
        self.stop_signal = self.stop_signal or signal.Signals(number)

    def poll(self) -> int | None:
        """Exit status of the child, or None while it runs."""
        return self._child.poll() if self._child else None

    def kill(self) -> None:
        """Kill whatever is left of the group, at once."""
        if self._child:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)

    def close(self) -> int:
        """Leave nothing behind: the group, the guardian, the zombie.

        Returns:
            Exit status of the child.
        """
        self.kill()
        status = self._child.wait() if self._child else 0
        if self._guardian:
            self._guardian.communicate(b"\n")
        return status


def supervise(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    on_poll: Callable[[Supervised], None],
) -> tuple[int, signal.Signals | None]:
    """Run a command to its end in its own process group; nothing of it survives this call, or this process.

    The first SIGINT, SIGTERM or SIGHUP is recorded in `stop_signal`, for `on_poll` to pass on to whoever can stop
    cleanly; a second one kills the group.

    Args:
        command: program and arguments.
        environment: the child's whole environment.
        log: file its output is appended to.
        on_poll: called about ten times a second, and once after the end.

    Returns:
        (exit status, the signal that asked to stop, if one did).
    """
    child = Supervised()
    status = 0
    before = {number: signal.signal(number, child.on_signal) for number in STOP_SIGNALS}
    try:
        child.start(command, environment, log)
        while child.poll() is None:
            on_poll(child)
            time.sleep(POLL_SECONDS)
        on_poll(child)
    finally:
        status = child.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    return status, child.stop_signal
