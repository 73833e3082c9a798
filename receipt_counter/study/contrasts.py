"""Effects of a factorial design as weighted sums over its cells.

A main effect is the mean over the cells at a level minus the mean over those at the baseline's level: what the
variation changes, averaged over the other factors. An interaction of two is how much more one changes where the other
is made too, averaged likewise (a difference of differences: twice the half-difference that textbooks of two-level
designs call by that name). In a fraction some effects are one and the same sum: they are aliased (Box, Hunter and
Hunter 2005, "Statistics for Experimenters", chapter 6), and the sum is named after the simplest of them.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from receipt_counter.study.variants import BASELINE

Cells = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Contrast:
    """An effect of a design.

    Attributes:
        levels: {factor: level}, one of a main effect, two of an interaction.
        weights: {cell: weight}; cells that do not count are absent.
        aliases: names of effects that cannot be told from this one, "-" before those that count the other way round.
    """

    levels: Mapping[str, str]
    weights: Mapping[str, float]
    aliases: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The variations it is about: "a", "a.b"."""
        return ".".join(self.levels.values())


def factors_in(cells: Cells) -> dict[str, list[str]]:
    """{factor: its levels, the baseline's first}.

    Args:
        cells: {cell: {factor: level}}.
    """
    found: dict[str, dict[str, None]] = {}
    for levels in cells.values():
        for factor, level in levels.items():
            found.setdefault(factor, {BASELINE: None})[level] = None
    return {factor: list(levels) for factor, levels in found.items()}


def contrasts(cells: Cells) -> list[Contrast]:
    """The main effects and the two-factor interactions of a full factorial or of a regular fraction.

    Args:
        cells: {cell: {factor: level}}.

    Returns:
        Main effects first; an effect that is aliased with an earlier one is named there and not listed again.
    """
    factors = factors_in(cells)
    found: dict[tuple[tuple[str, int], ...], Contrast] = {}
    for order in (1, 2):
        for chosen in itertools.combinations(factors, order):
            for levels in itertools.product(*(factors[factor][1:] for factor in chosen)):
                effect = _contrast(cells, dict(zip(chosen, levels, strict=True)))
                same, other = (tuple((cell, sign * _sign(w)) for cell, w in effect.weights.items()) for sign in (1, -1))
                for key, prefix in ((same, ""), (other, "-")):
                    if key in found:
                        known = found[key]
                        found[key] = Contrast(known.levels, known.weights, (*known.aliases, prefix + effect.name))
                        break
                else:
                    found[same] = effect
    return list(found.values())


def _sign(weight: float) -> int:
    return 1 if weight > 0 else -1


def _contrast(cells: Cells, wanted: Mapping[str, str]) -> Contrast:
    """Each cell that has, of every wanted factor, the wanted level or the baseline's, in shares of its like."""
    patterns = {
        cell: tuple(levels[factor] == level for factor, level in wanted.items())
        for cell, levels in cells.items()
        if all(levels[factor] in (level, BASELINE) for factor, level in wanted.items())
    }
    alike = Counter(patterns.values())
    weights = {cell: math.prod(1 if high else -1 for high in p) / alike[p] for cell, p in patterns.items()}
    return Contrast(wanted, weights)


def resolution(cells: Cells) -> int | None:
    """The length of a fraction's shortest defining word; None where nothing is aliased (a full factorial).

    Args:
        cells: {cell: {factor: level}}, factors of two levels where it is a fraction.
    """
    factors = factors_in(cells)
    if len(cells) == math.prod(len(levels) for levels in factors.values()):
        return None
    signs = {factor: [1 if levels[factor] == BASELINE else -1 for levels in cells.values()] for factor in factors}
    for length in range(1, len(factors) + 1):
        for word in itertools.combinations(signs.values(), length):
            if abs(sum(map(math.prod, zip(*word, strict=True)))) == len(cells):
                return length
    return None
