"""Kills the trials' process groups when the engine dies, however it dies."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

# Lines "+ GROUP" and "- GROUP" say whom to watch; at the end of the file the writer has died.
_SCRIPT = """
groups=" "
while read -r sign group; do
  case $sign in
    +) groups="$groups$group " ;;
    -) groups="${groups%% $group *} ${groups#* $group }" ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
"""


class Guardian:
    """A tiny shell that waits on a pipe only this process holds open, as in `receipt_counter.processes`, for many."""

    def __init__(self) -> None:
        self._shell = subprocess.Popen(["sh", "-c", _SCRIPT], stdin=subprocess.PIPE, start_new_session=True)

    def watch(self, group: int) -> None:
        """Kill this group when this process dies."""
        self._say(f"+ {group}")

    def release(self, group: int) -> None:
        """The group is gone."""
        self._say(f"- {group}")

    def close(self) -> None:
        """Kill what is still watched, and leave."""
        with contextlib.suppress(BrokenPipeError):
            self._shell.communicate()

    def _say(self, line: str) -> None:
        assert self._shell.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            os.write(self._shell.stdin.fileno(), f"{line}\n".encode())


def kill_group(group: int, number: signal.Signals) -> None:
    """Send a signal to a whole process group; nothing happens if it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def has_exited(process: int) -> bool:
    """Whether a child has ended; it stays a zombie, so that its group's number cannot be given to another yet."""
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
