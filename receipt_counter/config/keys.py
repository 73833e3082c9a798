"""How a settings tree is declared: each key with its default, a sentence, and the values it accepts."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def key(
    default: Any,
    doc: str,
    *,
    choices: tuple[Any, ...] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    pattern: tuple[str, str] | None = None,
) -> Any:
    """Declare one config key: its default, a sentence for the reader, and the values it accepts.

    Args:
        default: the full-scale reference value.
        doc: one sentence, shown by `config show --explain`.
        choices: the only values accepted, if the key is an enumeration.
        minimum, maximum: inclusive bounds (of every element, for a list).
        above: exclusive lower bound.
        pattern: (regular expression that a text, or each text of a list, matches whole; what it is, with an example).
    """
    metadata = {
        "doc": doc, "choices": choices, "minimum": minimum, "maximum": maximum, "above": above, "pattern": pattern
    }  # fmt: skip
    if isinstance(default, (list, dict)):
        raise TypeError("config defaults are immutable: use a tuple")
    return field(default=default, metadata=metadata)


def group(cls: type[Any], doc: str) -> Any:
    """Declare a nested part of the config, built from the defaults of `cls`."""
    return field(default_factory=cls, metadata={"doc": doc})
