"""A process that has imported what our trials need, once, and becomes a trial by forking.

The engine and the server talk JSON lines over a socket. To the server: {"id", "argv", "environment", "directory",
"log"}. From it: {"ready": true} once, {"id", "pid"} for a trial that started, {"id", "status"} for one that ended. The
server dies with the engine and its trials with the server; a trial that crashes takes nobody along.
Nothing here may start a thread before a fork, OpenMP's included.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receipt_counter.engines.local.guardian import Guardian, has_exited, kill_group
from receipt_counter.engines.local.trial_process import Launch
from receipt_counter.importing import importing
from receipt_counter.processes import die_with_parent
from receipt_counter.wakeup import Wakeup

_NO_THREADS = {"OPENBLAS_NUM_THREADS": "1"}  # it starts its threads when it is loaded; our trials compute with torch
DIED = -int(signal.SIGKILL)  # status of the trials of a server that died: the kernel killed them


@dataclass(frozen=True)
class Preloaded:
    """Trials that a server forks.

    Args:
        module: `python -m MODULE ARGS` starts one; the server calls its `main(ARGS) -> status`.
        imports: what the server imports beside it.
    """

    module: str
    imports: tuple[str, ...]


OURS = Preloaded(
    "receipt_counter.study.trial",
    (
        "torch",
        "transformers",
        "receipt_counter.steps",
        "receipt_counter.training.train",
        "receipt_counter.evaluation.evaluate",
        "rouge_score.rouge_scorer",
    ),
)


class PreloadedServer:
    """The engine's side.

    Args:
        preloaded: what it serves.
        environment: of the server; what a library reads when it is imported comes from here.
        log: where its own output goes.
        guardian: told of the trials' groups.
    """

    def __init__(self, preloaded: Preloaded, environment: Mapping[str, str], log: Path, guardian: Guardian) -> None:
        command = [sys.executable, "-m", "receipt_counter.engines.local.preloaded"]
        ours, theirs = socket.socketpair()
        with log.open("ab") as output, theirs:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(os.getpid()), preloaded.module, *preloaded.imports],
                env={**environment, **_NO_THREADS},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._socket = ours
        self._socket.setblocking(False)
        self._guardian = guardian
        self._rest = b""
        self._trials: dict[int, ForkedProcess] = {}
        self._count = 0
        self.log = log
        self.is_ready = self.was_ready = False
        self.is_alive = True

    @property
    def process(self) -> int:
        """The server's process."""
        return self._process.pid

    def status(self) -> int:
        """Exit status of one that died, negative for a signal."""
        return self._process.wait()

    def fileno(self) -> int:
        """For a selector: readable when `handle` has something to do."""
        return self._socket.fileno()

    def start(self, launch: Launch, arguments: Sequence[str]) -> ForkedProcess:
        """Fork a trial that runs the module with these arguments."""
        self._count += 1
        trial = self._trials[self._count] = ForkedProcess(self._guardian)
        request = {
            "id": self._count,
            "argv": list(arguments),
            "environment": dict(launch.environment),
            "directory": str(launch.directory),
            "log": str(launch.log),
        }
        self._socket.setblocking(True)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        self._socket.setblocking(False)
        return trial

    def handle(self) -> None:
        """Take what the server says; if it died, its trials died with it."""
        try:
            content = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except ConnectionResetError:
            content = b""
        if not content:
            self.is_alive = self.is_ready = False
            for trial in self._trials.values():
                trial.end(DIED)
            return
        *lines, self._rest = (self._rest + content).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "ready" in message:
                self.is_ready = self.was_ready = True
            elif "pid" in message:
                self._trials[message["id"]].begin(message["pid"])
            else:
                self._trials.pop(message["id"]).end(message["status"])

    def close(self) -> None:
        """End the server."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


class ForkedProcess:
    """A trial that is a fork of the server."""

    def __init__(self, guardian: Guardian) -> None:
        self._guardian = guardian
        self._signal: signal.Signals | None = None
        self._status: int | None = None
        self.group: int | None = None

    def begin(self, group: int) -> None:
        """The server started it."""
        self.group = group
        self._guardian.watch(group)
        if self._signal is not None:
            self.signal(self._signal)

    def end(self, status: int) -> None:
        """It ended."""
        self._status = status
        if self.group is not None:
            if status == DIED:  # perhaps with its server, which then left its group
                kill_group(self.group, signal.SIGKILL)
            self._guardian.release(self.group)

    def poll(self) -> int | None:
        """Its exit status once it ended."""
        return self._status

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its group, as soon as it has one."""
        self._signal = number
        if self.group is not None and self._status is None:
            kill_group(self.group, number)


def serve(connection: socket.socket, module: str, modules: Sequence[str]) -> int:
    """The server's side.

    Returns:
        Exit status: of the trial this process became, or of the server.
    """
    with importing():
        for name in (*modules, module):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # the collector leaves what the trials share alone, so its pages stay shared
    running: dict[int, int] = {}
    rest = b""
    with Wakeup((signal.SIGCHLD,)) as wakeup:
        _say(connection, {"ready": True})
        while True:
            if connection in wakeup.wait([connection]):
                content = connection.recv(1 << 16)
                if not content:
                    return 0
                *lines, rest = (rest + content).split(b"\n")
                for line in lines:
                    request = json.loads(line)
                    server = os.getpid()
                    process = os.fork()
                    if process == 0:
                        wakeup.close()
                        connection.close()
                        return _become_trial(request, module, server)
                    os.setpgid(process, process)  # by whoever is first: who hears of the trial may signal its group
                    running[process] = request["id"]
                    _say(connection, {"id": request["id"], "pid": process})
            for process in [process for process in running if has_exited(process)]:
                kill_group(process, signal.SIGKILL)
                _, status = os.waitpid(process, 0)
                _say(connection, {"id": running.pop(process), "status": os.waitstatus_to_exitcode(status)})


def _say(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _become_trial(request: dict[str, Any], module: str, server: int) -> int:
    """In the forked process: take the trial's place in the system, then do its work."""
    os.setpgid(0, 0)
    die_with_parent(server)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    sys.path[0] = request["directory"]
    sys.argv = [module, *request["argv"]]
    try:
        if "torch" in sys.modules and request["environment"].get("OMP_NUM_THREADS", "").isdigit():
            # OpenMP read the server's environment when it was loaded
            sys.modules["torch"].set_num_threads(int(request["environment"]["OMP_NUM_THREADS"]))
        status = sys.modules[module].main(request["argv"])
        return int(status)
    except SystemExit as error:
        if error.code is not None and not isinstance(error.code, int):
            print(error.code, file=sys.stderr)
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1


def main() -> int:
    """`python -m receipt_counter.engines.local.preloaded DESCRIPTOR PARENT MODULE [MODULES...]`."""
    descriptor, parent, module, *modules = sys.argv[1:]
    die_with_parent(int(parent))
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return serve(socket.socket(fileno=int(descriptor)), module, modules)


if __name__ == "__main__":
    sys.exit(main())
