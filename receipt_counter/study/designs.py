"""Factorial designs: which combinations of an ablation's variations are tried, and what they can tell apart.

The variations that `design.factors` names are the factors: each is made or not (two levels). Variations that change the
same keys cannot both be made: they are levels of one factor, beside the baseline's, in a full factorial. A fraction is
regular, of two levels and of the size that its resolution needs; of the fractions of that size it is one that holds the
baseline, with which everything is compared. Variations that are no factors are tried one at a time.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from receipt_counter.errors import UserError
from receipt_counter.study.contrasts import contrasts, resolution
from receipt_counter.study.settings import FRACTIONAL, FULL, Design
from receipt_counter.study.variants import BASELINE, Variant, short_name

MOST_RUNS = 1000  # a study of more is a mistake
DEFAULT_RESOLUTION = 4
_SHOWN_ALIASES = 8
_APART = {
    3: "main effects are apart from each other, not from interactions of two",
    4: "main effects are apart from interactions of two, these not from each other",
    5: "main effects and interactions of two are apart from each other",
}


@dataclass(frozen=True)
class Factor:
    """A factor of a design.

    Attributes:
        name: what it changes.
        levels: beside the baseline's.
    """

    name: str
    levels: tuple[Variant, ...]


def design_variants(design: Design, variants: Sequence[Variant], seeds: int, place: str) -> list[Variant]:
    """What is tried: the baseline, the variations one at a time, then the cells of the design.

    Args:
        design: of the study file.
        variants: its variations.
        seeds: how many.
        place: where the design was written, for messages.

    Returns:
        The baseline first; a cell that is one variation alone is that variation.

    Raises:
        UserError: the design is impossible, or absurdly large.
    """
    if design.name not in (FULL, FRACTIONAL):
        return [Variant(BASELINE, {}), *variants]
    factors = _factors([variant for variant in variants if variant.name in design.factors], place)
    make = _full if design.name == FULL else _fraction
    cells = [_cell(factors, chosen, place) for chosen in make(design, factors, seeds, place)]
    known = {cell.name: cell for cell in cells}
    alone = [known.pop(v.name, v) for v in variants if v.name in known or v.name not in design.factors]
    return [known.pop(BASELINE), *alone, *known.values()]


def _factors(variants: Sequence[Variant], place: str) -> list[Factor]:
    grouped: dict[tuple[str, ...], list[Variant]] = {}
    for variant in variants:
        grouped.setdefault(tuple(sorted(variant.overrides)), []).append(variant)
    for (one, [first, *_]), (other, [second, *_]) in itertools.combinations(grouped.items(), 2):
        shared = [key for key in one if key in other]
        if shared:
            raise UserError(
                f"{place}: design.factors: {first.name} and {second.name} both change {shared[0]}, and one of them"
                f" something else too: they can neither be made together nor be levels of one factor"
            )
    if len(grouped) < 2:
        names = ", ".join(variant.name for variant in variants)
        raise UserError(f"{place}: design.factors: {names} are levels of one factor ({variants[0].changes()}, ...)")
    return [
        Factor(levels[0].name if len(levels) == 1 else "+".join(keys), tuple(levels))
        for keys, levels in grouped.items()
    ]


Chosen = Sequence[Variant | None]  # of each factor the level that is made; None: the baseline's


def _full(design: Design, factors: Sequence[Factor], seeds: int, place: str) -> list[Chosen]:
    """Every combination, those of few variations first."""
    size = math.prod(1 + len(factor.levels) for factor in factors)
    _refuse_absurd(design, factors, size, seeds, place)
    combined: list[Chosen] = list(itertools.product(*((None, *factor.levels) for factor in factors)))

    def made(chosen: Chosen) -> tuple[int, list[int]]:
        places = [index for index, level in enumerate(chosen) if level]
        return len(places), places

    return sorted(combined, key=made)


def _fraction(design: Design, factors: Sequence[Factor], seeds: int, place: str) -> list[Chosen]:
    wide = next((factor for factor in factors if len(factor.levels) > 1), None)
    if wide is not None:
        names = ", ".join(level.name for level in wide.levels)
        raise UserError(
            f"{place}: design.factors: {names} are levels of one factor; a fraction has factors of two levels: name one"
        )
    wanted, most = design.resolution or min(DEFAULT_RESOLUTION, len(factors)), len(factors)
    if most < 3:
        raise UserError(f"{place}: design.factors: a fraction needs at least 3 factors, found {most}; use {FULL}")
    if wanted > most:
        raise UserError(
            f"{place}: design.resolution: {wanted} is more than a fraction of {most} factors can have; nearest: {most}"
        )
    high = _signs(len(factors), wanted)
    _refuse_absurd(design, factors, len(high), seeds, place)
    return [[f.levels[0] if made else None for f, made in zip(factors, row, strict=True)] for row in high]


def _signs(factors: int, wanted: int) -> list[list[bool]]:
    """Which factors are made in each cell of the smallest fraction of a resolution; none in the first."""
    from pydoe.factorial import fracfact_by_res

    signs = fracfact_by_res(factors, wanted)
    # swapping a column's levels gives another fraction of the same family
    made: list[list[bool]] = (signs != signs[0]).tolist()
    return made


def _refuse_absurd(design: Design, factors: Sequence[Factor], cells: int, seeds: int, place: str) -> None:
    if cells * seeds <= MOST_RUNS:
        return
    two_levels = all(len(factor.levels) == 1 for factor in factors)
    highest = 5 if design.name == FULL else (design.resolution or DEFAULT_RESOLUTION) - 1
    smaller = {
        wanted: len(_signs(len(factors), wanted)) for wanted in range(min(highest, len(factors)), 2, -1) if two_levels
    }
    hints = [
        f"{size:,} cells with resolution {wanted}" for wanted, size in smaller.items() if size * seeds <= MOST_RUNS
    ]
    advice = f"a {FRACTIONAL} has {', '.join(hints)}; or name fewer factors" if hints else "name fewer factors or seeds"
    raise UserError(
        f"{place}: design: a {design.name} of {len(factors)} factors has {cells:,} cells, with {seeds} seeds"
        f" {cells * seeds:,} runs, more than {MOST_RUNS:,}: {advice}"
    )


def _cell(factors: Sequence[Factor], chosen: Chosen, place: str) -> Variant:
    levels = {f.name: level.name if level else BASELINE for f, level in zip(factors, chosen, strict=True)}
    made = [level for level in chosen if level]
    if len(made) == 1:
        return dataclasses.replace(made[0], levels=levels)
    name = ".".join(level.name for level in made) or BASELINE
    overrides = {key: value for level in made for key, value in level.overrides.items()}
    return Variant(short_name(name), overrides, "", f"{place}: {name}", levels)


def design_notes(cells: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What a person should know of a fraction: its resolution, and which effects cannot be told apart.

    Args:
        cells: {cell: {factor: level}}; a full factorial has no notes.
    """
    reached = resolution(cells)
    if reached is None:
        return []
    factors = len(next(iter(cells.values())))
    notes = [
        f"a fraction of resolution {reached}, {len(cells)} of {2**factors} combinations: {_APART[min(reached, 5)]};"
        " interactions of three and more are taken to be none"
    ]
    aliased = [" = ".join((effect.name, *effect.aliases)) for effect in contrasts(cells) if effect.aliases]
    more = len(aliased) - _SHOWN_ALIASES
    if aliased:
        shown = "; ".join(aliased[:_SHOWN_ALIASES]) + (f"; and {more} more" if more > 0 else "")
        notes.append(f"aliased (one sum, '-' where it counts the other way round): {shown}")
    return notes
