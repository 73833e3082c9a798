"""Correction for asking many questions at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping
from typing import TypeVar

from receipt_counter.comparison.effects import Effect

K = TypeVar("K", bound=Hashable)


def with_holm(effects: Mapping[K, Effect]) -> dict[K, Effect]:
    """The same effects with `p_holm` (Holm 1979, "A simple sequentially rejective multiple test procedure").

    The probability of a false finding anywhere in the family stays below the level, however the tests depend on each
    other: all variations share one baseline.

    Args:
        effects: the whole family, such as variations x priority metrics.
    """
    if not effects:
        return {}
    from statsmodels.stats.multitest import multipletests

    corrected = multipletests([effect.p for effect in effects.values()], method="holm")[1]
    return {
        key: dataclasses.replace(effect, p_holm=float(p))
        for (key, effect), p in zip(effects.items(), corrected, strict=True)
    }
