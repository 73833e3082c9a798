"""Commands that Katib gives to a shell: what is refused breaks there, what is accepted does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receipt_counter.katib.shell import wrapping_problem

REFUSED = {
    "spaces": (["a", "--x=b c"], 1, "split at its spaces"),
    "line break": (["a", "b\nc"], 1, r"acts on '\n'"),
    "next command": (["a", "b;c"], 1, "acts on ';'"),
    "background": (["a", "x&y"], 1, "acts on '&'"),
    "brackets": (["a", "f(x)"], 1, "acts on '('"),
    "command substitution": (["a", "$(date)"], 1, "acts on '('"),
    "redirection": (["a", "x>y"], 1, "acts on '>'"),
    "open quote": (["a", "it's"], 1, "waits for a second '"),
    "JSON": (["a", '{"x":1}'], 1, "removes the quotes"),
    "quotes inside": (["a", "x'y'z"], 1, "removes the quotes"),
    "backslash": (["a", r"\d+"], 1, "removes the backslash"),
    "comment": (["a", "#1"], 1, "comment"),
    "empty": (["a", "", "b"], 1, "an empty argument vanishes"),
    "other shell": (["/bin/sh", "-c", "a b"], 2, "write sh instead of /bin/sh"),
    "bare shell": (["sh"], 0, "needs an argument"),
    "empty script": (["sh", "-c"], 1, "the script is empty"),
    "script with a line break behind": (["bash", "-c", "a\n"], 2, "ends in a line break"),
    "script with a semicolon behind": (["sh", "-c", "a;"], 2, "ends in ';'"),
    "script with a comment behind": (["sh", "-c", "a\nb # c"], 2, "comment at its end"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_breaks_is_refused(name: str) -> None:
    tokens, index, text = REFUSED[name]

    problem = wrapping_problem(tokens, ())

    assert problem is not None
    assert problem[0] == index
    assert text in problem[1]


# Each entry: tokens, and the arguments the program gets.
ACCEPTED = {
    "plain": (["--rate=1e-05", "/a/b.py", "x,y:z@%+"], ["--rate=1e-05", "/a/b.py", "x,y:z@%+"]),
    "quoted value": (['--text="b c"', "'d;e'"], ["--text=b c", "d;e"]),
    "escaped": ([r"b\ c"], ["b c"]),
    "hash inside": (["a#b"], ["a#b"]),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_accepted_arrives(name: str, tmp_path: Path) -> None:
    tokens, arrived = ACCEPTED[name]

    assert wrapping_problem(["program", *tokens], ()) is None
    assert _arguments_in_katib(tokens, tmp_path) == arrived


@settings(max_examples=40, deadline=None)
@given(tokens=st.lists(st.text("ab1 =-'\"\\;&|<>()#\n\t,{}:/", max_size=5), min_size=1, max_size=3))
def test_unquoted_tokens_that_are_accepted_arrive_unchanged(
    tokens: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    if wrapping_problem(["program", *tokens], ()) is None and not any(c in "'\"\\" for token in tokens for c in token):
        assert _arguments_in_katib(tokens, tmp_path_factory.getbasetemp()) == tokens


def _arguments_in_katib(tokens: list[str], directory: Path) -> list[str]:
    """Run a program as Katib's webhook has it: joined, unquoted, redirected, with the marker behind."""
    program = directory / "program.py"
    program.write_text("import sys\nprint('\\0'.join(sys.argv[1:]), end='')\n")
    log = directory / "metrics.log"
    line = " ".join([sys.executable, "-S", str(program), *tokens, f"1>{log}", "2>&1", "&&", "echo", "completed"])
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "completed\n"
    return log.read_text().split("\0")


def test_scripts_of_a_shell_are_left_alone() -> None:
    assert wrapping_problem(["sh", "-c", "a; b 'c d' | e"], ()) is None
    assert wrapping_problem(["bash", "-c", "echo '# no comment'"], ()) is None


def test_known_variables_are_replaced_before_the_shell() -> None:
    assert wrapping_problem(["a", "$(HOME)/b"], ["HOME"]) is None
    assert wrapping_problem(["a", "$(HOME)/b"], []) is not None
