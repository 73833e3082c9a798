"""What becomes of a trial's command when Katib wraps it to collect metrics (kubeflow/katib, webhook pod/utils.go).

With the collectors StdOut, File and TensorFlowEvent the command and args are joined by single spaces, unquoted, and
given to `sh -c`; behind them stands ` 1>FILE 2>&1 && echo completed > ...` (the redirection for StdOut only). If the
first two are `sh -c` or `bash -c` themselves, only the rest is joined, with the same behind it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

WRAPPING_COLLECTORS = ("StdOut", "File", "TensorFlowEvent")
_SHELLS = ("sh", "bash")
_SPECIAL = re.compile(r"[ \t\n;&|<>()`'\"\\]")
_ESCAPE = re.compile(r"\\[ \t'\"\\$*?\[#~;&|<>()`]")  # a backslash that does what it is written for
_QUOTED = re.compile(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_VARIABLE = re.compile(r"\$\(([^()]*)\)")


def wrapping_problem(tokens: Sequence[str], variables: Collection[str]) -> tuple[int, str] | None:
    """The first part of a command that breaks when Katib wraps it.

    Args:
        tokens: command and args, placeholders filled in.
        variables: names of the container's environment variables: `$(NAME)` of these is replaced before the shell runs.

    Returns:
        Its index and what happens, or None if every token reaches the program as written. Quotes around a whole value
        (`--name="a b"`) are taken as meant for that shell.
    """
    if tokens[:1] and tokens[0] in _SHELLS:
        if len(tokens) == 1:
            return 0, "Katib's metrics collector needs an argument after it"
        if tokens[1] == "-c":
            problem = _script_problem(" ".join(tokens[2:]))
            return (len(tokens) - 1, problem) if problem else None
    for index, token in enumerate(tokens):
        problem = _token_problem(_VARIABLE.sub(lambda found: "x" if found[1] in variables else found[0], token))
        if problem:
            if index and tokens[index - 1] == "-c" and tokens[0].rpartition("/")[2] in _SHELLS:
                problem += f"; write {tokens[0].rpartition('/')[2]} instead of {tokens[0]}: Katib knows only that"
            return index, problem
    return None


def _token_problem(token: str) -> str | None:
    if not token:
        return "an empty argument vanishes"
    if token.startswith("#"):
        return "the shell takes it and all that follows for a comment"
    token = _ESCAPE.sub("x", token)
    found = _SPECIAL.search(token)
    if found is None:
        return None
    if found[0] in "'\"":
        return _quote_problem(token, found.start())
    if found[0] == "\\":
        return "the shell removes the backslash"
    return "it is split at its spaces" if found[0] in " \t" else f"the shell acts on {found[0]!r}"


def _quote_problem(token: str, start: int) -> str | None:
    """What is wrong with a token's first quotes; around the whole of its value they are meant."""
    quoted = _QUOTED.match(token, start)
    if quoted is None:
        return f"the shell waits for a second {token[start]}"
    whole = quoted.end() == len(token) and (start == 0 or token[start - 1] in "=:")
    return None if whole else "the shell removes the quotes"


def _script_problem(script: str) -> str | None:
    end = script.rstrip(" \t")
    if not end:
        return "the script is empty"
    if end[-1] in "\n;&|\\":
        how = "a line break (write it with |- instead of |)" if end[-1] == "\n" else repr(end[-1])
        return f"the script ends in {how}, so what Katib appends no longer belongs to its last command"
    if re.search(r"(?:^|\s)#", _QUOTED.sub("", script.rpartition("\n")[2])):
        return "the comment at its end swallows what Katib appends"
    return None
