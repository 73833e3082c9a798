"""Which types of question each picture is asked, so that the whole dataset has the wanted shares.

Not every picture can be asked everything: one without receipts shows no total. Drawing types from the wanted shares and
replacing what cannot be asked would leave too few questions about amounts, so pictures that can be asked about amounts
get more of them. How many more follows from iterative proportional fitting (Deming & Stephan, 1940).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

_ROUNDS = 500
FALLBACK = ("counting", "existence")  # asked where nothing that is wanted can be

Mix = Mapping[frozenset[str], Mapping[str, float]]


def fit_mix(wanted: Mapping[str, float], pictures: Sequence[frozenset[str]]) -> Mix:
    """Find the shares of question types for each kind of picture.

    Args:
        wanted: {question type: share wanted among all questions}, not all 0.
        pictures: for each of a sample of pictures, the types it can be asked.

    Returns:
        {types a picture can be asked: {type: share among its questions}}. Over the sample they add up to `wanted`,
        or come as near as what can be asked allows.
    """
    kinds = Counter(pictures)
    types = list(wanted)
    rows = []
    for kind in kinds:
        allowed = [name in kind and wanted[name] > 0 for name in types]
        if not any(allowed):
            allowed = [name in FALLBACK for name in types]
        rows.append(allowed)
    share = np.array([kinds[kind] / len(pictures) for kind in kinds])
    goal = np.array([max(wanted[name], 0.0) for name in types], np.float64) / sum(wanted.values())
    table = np.array(rows, np.float64) * np.maximum(goal, 1e-9)
    for _ in range(_ROUNDS):
        columns = table.sum(axis=0)
        table *= np.where(columns > 0, np.maximum(goal, 1e-9) / np.where(columns > 0, columns, 1.0), 0.0)
        table *= (share / table.sum(axis=1))[:, None]
    table /= table.sum(axis=1, keepdims=True)
    return {kind: dict(zip(types, row.tolist(), strict=True)) for kind, row in zip(kinds, table, strict=True)}


def draw_types(rng: np.random.Generator, shares: Mapping[str, float], count: int) -> list[str]:
    """Draw question types by systematic sampling: each has its share on average, and one picture's are varied."""
    names = list(shares)
    ends = np.cumsum(list(shares.values()))
    points = (float(rng.random()) + np.arange(count)) / count * ends[-1]
    return [names[i] for i in np.minimum(np.searchsorted(ends, points, side="right"), len(names) - 1)]
