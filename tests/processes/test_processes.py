"""Children never outlive the command that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support import ends

PROJECT = Path(__file__).resolve().parents[2]

# A command that supervises a shell with a Python child, as kfp starts its steps; nobody in it calls die_with_parent.
SUPERVISOR = """
import os, sys
from pathlib import Path
from receipt_counter.processes import supervise
child = [ "sh", "-c", sys.argv[2] + " & " + sys.argv[2] + "; true" ]
asked = []
def on_poll(child):
    if child.stop_signal and not asked:
        asked.append(print("asked", flush=True))
status, stopped = supervise(child, environment=os.environ, log=Path(sys.argv[1]), on_poll=on_poll)
print(status, stopped and stopped.name, flush=True)
"""

# A parent whose child leaves the process group, as torchrun's do, and asks to die with it.
PARENT = '''
import subprocess, sys, time
child = """
import time
from receipt_counter.processes import die_with_parent
die_with_parent()
print("up", flush=True)
time.sleep(60)
"""
subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
time.sleep(60)
'''


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def descendants(process: subprocess.Popen[str], at_least: int) -> list[psutil.Process]:
    """All descendants, once there are enough."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = psutil.Process(process.pid).children(recursive=True)
        if len(found) >= at_least:
            return found
        time.sleep(0.02)
    raise AssertionError("the children never started")


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGABRT], ids=lambda number: number.name)
def test_supervised_group_dies_with_its_supervisor(tmp_path: Path, by: signal.Signals) -> None:
    command = start(SUPERVISOR, str(tmp_path / "log"), "sleep 60")
    children = descendants(command, at_least=4)  # the shell, its two children, the guardian
    os.kill(command.pid, by)
    command.wait()
    assert ends(*children)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_second_signal_kills_the_group(tmp_path: Path, stop: signal.Signals) -> None:
    command = start(SUPERVISOR, str(tmp_path / "log"), "sleep 60")
    children = descendants(command, at_least=4)
    command.send_signal(stop)
    assert command.stdout is not None
    assert command.stdout.readline() == "asked\n"  # two signals that wait to be heard count as one
    time.sleep(0.3)
    assert command.poll() is None, "the first signal must leave the children time to save"
    command.send_signal(stop)
    output, _ = command.communicate(timeout=50)
    assert output.split() == ["-9", stop.name]
    assert ends(*children)


def test_stragglers_of_a_finished_command_are_swept_up(tmp_path: Path) -> None:
    command = start(SUPERVISOR, str(tmp_path / "log"), "sleep 0.5; sleep 60 & true")
    children = descendants(command, at_least=4)
    output, _ = command.communicate(timeout=50)
    assert output.split() == ["0", "None"]
    assert ends(*children)


def test_output_goes_to_the_log(tmp_path: Path) -> None:
    # what is still running when the shell ends is killed, so the shell waits for its child in the background
    command = start(SUPERVISOR, str(tmp_path / "log"), "echo hello; echo trouble >&2; wait")
    command.communicate(timeout=50)
    assert sorted((tmp_path / "log").read_text().split()) == ["hello", "hello", "trouble", "trouble"]


def test_child_in_a_session_of_its_own_dies_with_its_parent() -> None:
    parent = start(PARENT)
    children = descendants(parent, at_least=1)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "up\n"
    parent.kill()
    parent.wait()
    assert ends(*children)


def test_child_whose_parent_is_already_gone_dies_at_once() -> None:
    code = "from receipt_counter.processes import die_with_parent; die_with_parent(parent=1); print('alive')"
    child = start(code)
    output, _ = child.communicate(timeout=50)
    assert (child.returncode, output) == (-signal.SIGKILL, "")


@pytest.mark.parametrize("alive_at_first", [True, False], ids=["dies later", "is gone already"])
def test_process_dies_with_one_that_is_no_relation(alive_at_first: bool) -> None:
    caller = start("import time; time.sleep(60)")
    if not alive_at_first:
        caller.kill()  # and a zombie from now on: nobody has waited for it
    code = "import sys, time; from receipt_counter.processes import die_with; die_with(int(sys.argv[1]))"
    step = start(f"{code}; print('up', flush=True); time.sleep(60)", str(caller.pid))
    if alive_at_first:
        assert step.stdout is not None
        assert step.stdout.readline() == "up\n"
        with pytest.raises(subprocess.TimeoutExpired):
            step.wait(timeout=0.5)
        caller.kill()
    assert step.wait(timeout=50) == -signal.SIGKILL
    caller.wait()
