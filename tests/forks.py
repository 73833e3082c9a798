"""Our commands as processes that need not import torch and transformers first, which costs five seconds of CPU each.

As the engine's trials do, they fork from a process that has imported them; there is one for each worker of pytest.
What starts with `python -m` does the same work; tests that are about starting use that.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path

PRELOADED = ["tests.preloaded"]


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)  # read when the first process is started
    return context


class Fork:
    """`python -m MODULE ARGUMENTS`, with what tests need of a `subprocess.Popen`.

    Args:
        module: what `-m` would run.
        arguments: its arguments.
        log: file that its output is appended to.
        errors: file that its errors are appended to; the same by default.
        environment: its whole environment, this process's by default.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        log: Path,
        *,
        errors: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        whole = dict(os.environ if environment is None else environment)
        files = (str(log), str(errors or log))
        self._files = files
        self._process = _context().Process(target=_become, args=(module, [*arguments], files, whole))
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        self.terminate, self.kill = self._process.terminate, self._process.kill

    @property
    def returncode(self) -> int | None:
        """Exit status once it ended, negative for a signal."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Exit status once it ended."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Exit status, when it ends."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What is in its files when it ends."""
        self.wait(timeout)
        output, errors = (Path(file).read_text(encoding="utf-8") for file in self._files)
        return output, errors


def _become(module: str, arguments: Sequence[str], files: tuple[str, str], environment: Mapping[str, str]) -> None:
    for descriptor, path in enumerate(files, start=1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, descriptor)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
