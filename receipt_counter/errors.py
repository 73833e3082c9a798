"""The one exception a user's mistake becomes: shown as a message, never as a traceback."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable

FEW = 8  # choices that are listed beside the nearest one
_BEGINNING = 3  # letters that are enough to begin a name with


class UserError(Exception):
    """Something the user can mend: the text names the file, the key, the value and what would be valid.

    Args:
        message: one or several lines for the terminal.
        status: exit status of the command line (never 0).
    """

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


def nearest(name: str, valid: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The valid name most like `name`, or None when none reaches the cutoff (difflib's ratio, 0 to 1).

    The only one that `name` begins is the nearest, however long it is.
    """
    valid = list(valid)
    longer = [choice for choice in valid if len(name) >= _BEGINNING and choice.startswith(name)]
    if len(longer) == 1:
        return longer[0]
    matches = difflib.get_close_matches(name, valid, n=FEW, cutoff=cutoff)

    def likeness(match: str) -> tuple[float, int]:
        # Among equally near ones the one that begins the same: people misspell ends.
        begins = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(match, name, strict=False)))
        return difflib.SequenceMatcher(None, match, name).ratio(), begins

    return max(matches, key=likeness, default=None)


def suggestion(name: str, valid: Iterable[str]) -> str:
    """A phrase naming the nearest valid choice, and all of them where they are few or none is near."""
    choices = [str(choice) for choice in valid]
    closest = nearest(name, choices)
    everything = f"valid: {', '.join(choices)}"
    if closest is None:
        return everything
    return f"did you mean {closest!r}?" + (f" ({everything})" if len(choices) <= FEW else "")
