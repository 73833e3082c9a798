"""Factorial designs: which cells there are, and that their contrasts find the effects that were put in."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receipt_counter.errors import UserError
from receipt_counter.study.contrasts import contrasts, factors_in, resolution
from receipt_counter.study.designs import design_notes, design_variants
from receipt_counter.study.settings import FRACTIONAL, FULL, ONE_AT_A_TIME, Design
from receipt_counter.study.variants import BASELINE, Variant

PLACE = "mine.yaml:9"


def two_levels(count: int) -> list[Variant]:
    """Variations a, b, c, ... of keys of their own."""
    return [Variant(chr(ord("a") + i), {f"key.{i}": 1}, "family", PLACE) for i in range(count)]


def cells(design: Design, variants: list[Variant]) -> dict[str, dict[str, str]]:
    return {v.name: dict(v.levels) for v in design_variants(design, variants, 3, PLACE) if v.levels}


def fraction(factors: int, wanted: int | None) -> dict[str, dict[str, str]]:
    variants = two_levels(factors)
    return cells(Design(FRACTIONAL, tuple(v.name for v in variants), wanted), variants)


class TestFullFactorial:
    def test_every_combination_is_tried_once_and_the_others_alone(self) -> None:
        tried = design_variants(Design(FULL, ("a", "c")), two_levels(4), 3, PLACE)
        assert [v.name for v in tried] == [BASELINE, "a", "b", "c", "d", "a.c"]
        assert {v.name: list(v.levels.values()) for v in tried if v.levels} == {
            BASELINE: [BASELINE, BASELINE],
            "a": ["a", BASELINE],
            "c": [BASELINE, "c"],
            "a.c": ["a", "c"],
        }
        assert tried[-1].overrides == {"key.0": 1, "key.2": 1}

    def test_variations_of_the_same_keys_are_levels_of_one_factor(self) -> None:
        heads = [Variant(f"heads_{n}", {"heads": n}, "architecture") for n in (0, 1)]
        found = cells(Design(FULL, ("heads_0", "heads_1", "a")), [*heads, *two_levels(1)])
        assert list(found) == [BASELINE, "heads_0", "heads_1", "a", "heads_0.a", "heads_1.a"]
        assert factors_in(found) == {"heads": [BASELINE, "heads_0", "heads_1"], "a": [BASELINE, "a"]}
        assert [effect.name for effect in contrasts(found)] == ["heads_0", "heads_1", "a", "heads_0.a", "heads_1.a"]

    def test_it_has_no_notes(self) -> None:
        assert design_notes(cells(Design(FULL, ("a", "b")), two_levels(2))) == []

    def test_one_at_a_time_has_no_cells(self) -> None:
        assert [v.name for v in design_variants(Design(ONE_AT_A_TIME), two_levels(2), 3, PLACE)] == [BASELINE, "a", "b"]


class TestFraction:
    @settings(deadline=None)  # the first example imports pydoe
    @given(st.integers(3, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(3, min(n, 5)))))
    def test_it_holds_the_baseline_is_balanced_and_reaches_its_resolution(self, size: tuple[int, int]) -> None:
        factors, wanted = size
        found = fraction(factors, wanted)
        assert len(found) < 2**factors
        assert BASELINE in found
        reached = resolution(found)
        assert reached is not None
        assert reached >= wanted
        # any wanted - 1 factors together show all their combinations equally often
        for chosen in itertools.combinations(factors_in(found), wanted - 1):
            shown = [tuple(levels[factor] for factor in chosen) for levels in found.values()]
            assert {shown.count(combination) for combination in shown} == {len(found) // 2 ** (wanted - 1)}
            assert len(set(shown)) == 2 ** (wanted - 1)

    @pytest.mark.parametrize(
        ("factors", "wanted", "size"),
        [(3, 3, 4), (4, 4, 8), (5, 5, 16), (5, 3, 8), (6, 4, 16), (7, 3, 8), (7, 4, 16), (7, 5, 64), (8, 4, 16)],
    )
    def test_its_size_is_that_of_the_tables(self, factors: int, wanted: int, size: int) -> None:
        """NIST/SEMATECH e-Handbook of Statistical Methods, 5.3.3.4.7."""
        assert len(fraction(factors, wanted)) == size

    def test_factors_alone_are_not_tried_and_others_are(self) -> None:
        variants = two_levels(5)
        tried = [v.name for v in design_variants(Design(FRACTIONAL, ("a", "b", "c", "d"), 4), variants, 3, PLACE)]
        assert tried[:2] == [BASELINE, "e"]
        assert not {"a", "b", "c", "d"} & set(tried)

    def test_its_notes_name_resolution_and_aliases(self) -> None:
        about, aliased = design_notes(fraction(4, 4))
        assert about.startswith("a fraction of resolution 4, 8 of 16 combinations: main effects are apart from")
        assert aliased.endswith("round): a.b = c.d; a.c = b.d; a.d = b.c")
        assert design_notes(fraction(3, 3))[1].endswith("round): a = -b.c; b = -a.c; c = -a.b")

    def test_many_aliases_are_counted(self) -> None:
        found = fraction(9, 4)
        sums = sum(bool(effect.aliases) for effect in contrasts(found))
        assert design_notes(found)[1].endswith(f"; and {sums - 8} more")

    @pytest.mark.parametrize("wanted", [3, 4])
    def test_aliased_effects_are_one_sum(self, wanted: int) -> None:
        """Each alias, computed on its own, is the same contrast up to its sign and scale."""
        found = fraction(6, wanted)
        for effect in contrasts(found):
            for alias in effect.aliases:
                sign = -1 if alias.startswith("-") else 1
                product = {
                    cell: sign * math.prod(-1 if levels[f] == BASELINE else 1 for f in alias.strip("-").split("."))
                    for cell, levels in found.items()
                }
                assert all((effect.weights[cell] > 0) == (product[cell] > 0) for cell in found)


@given(st.data())
def test_contrasts_find_what_was_put_in(data: st.DataObject) -> None:
    """Scores that are sums of main effects and interactions of two, over a full factorial with up to 3 levels."""
    levels = data.draw(st.lists(st.integers(1, 2), min_size=2, max_size=3))
    variants = [Variant(f"v{f}{n}", {f"key.{f}": n}, "x") for f, count in enumerate(levels) for n in range(count)]
    found = cells(Design(FULL, tuple(v.name for v in variants)), variants)
    names = [effect.name for effect in contrasts(found)]
    truth = {name: data.draw(st.integers(-9, 9), label=name) for name in names}
    scores = {
        cell: sum(size for name, size in truth.items() if set(name.split(".")) <= set(cell_levels.values()))
        for cell, cell_levels in found.items()
    }
    pairs = {name: size for name, size in truth.items() if "." in name}
    for effect in contrasts(found):
        measured = sum(weight * scores[cell] for cell, weight in effect.weights.items())
        if "." in effect.name:
            assert measured == pytest.approx(truth[effect.name])
            continue
        # a main effect is averaged over the levels of the other factors
        (own,) = effect.levels
        others = {f: len(known) for f, known in factors_in(found).items() if f != own}
        shared = sum(
            size / next(others[f] for f in others if set(factors_in(found)[f]) & (set(name.split(".")) - {effect.name}))
            for name, size in pairs.items()
            if effect.name in name.split(".")
        )
        assert measured == pytest.approx(truth[effect.name] + shared)


BAD = {
    "a key shared": (
        Design(FULL, ("a", "ab")),
        [*two_levels(1), Variant("ab", {"key.0": 2, "other": 1}, "x")],
        "design.factors: a and ab both change key.0, and one of them something else too",
    ),
    "one factor": (
        Design(FULL, ("a", "b")),
        [Variant(name, {"key": n}, "x") for n, name in enumerate("ab")],
        "design.factors: a, b are levels of one factor (key=0, ...)",
    ),
    "three levels in a fraction": (
        Design(FRACTIONAL, ("a", "b", "c", "more")),
        [*two_levels(3), Variant("more", {"key.0": 2}, "x")],
        "design.factors: a, more are levels of one factor; a fraction has factors of two levels: name one",
    ),
    "a fraction of two": (
        Design(FRACTIONAL, ("a", "b")),
        two_levels(2),
        "design.factors: a fraction needs at least 3 factors, found 2; use full-factorial",
    ),
    "impossible resolution": (
        Design(FRACTIONAL, ("a", "b", "c", "d"), 5),
        two_levels(4),
        "design.resolution: 5 is more than a fraction of 4 factors can have; nearest: 4",
    ),
    "absurdly many": (
        Design(FULL, tuple("abcdefghijkl")),
        two_levels(12),
        "design: a full-factorial of 12 factors has 4,096 cells, with 3 seeds 12,288 runs, more than 1,000: a"
        " fractional-factorial has 256 cells with resolution 5, 32 cells with resolution 4, 16 cells with resolution 3;"
        " or name fewer factors",
    ),
    "absurdly many levels": (
        Design(FULL, tuple(f"{f}{n}" for f in "abcdef" for n in range(3))),
        [Variant(f"{f}{n}", {f: n}, "x") for f in "abcdef" for n in range(3)],
        "has 4,096 cells, with 3 seeds 12,288 runs, more than 1,000: name fewer factors or seeds",
    ),
    "too high a resolution": (
        Design(FRACTIONAL, tuple("abcdefghijklmnopqr"), 5),
        two_levels(18),
        "has 512 cells, with 3 seeds 1,536 runs, more than 1,000: a fractional-factorial has 64 cells with resolution 4"
        ", 32 cells with resolution 3; or name fewer factors",
    ),
}


@pytest.mark.parametrize(("design", "variants", "expected"), BAD.values(), ids=BAD.keys())
def test_impossible_designs_are_refused(design: Design, variants: list[Variant], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        design_variants(design, variants, 3, PLACE)
    assert caught.value.message.startswith(f"{PLACE}: design")
    assert expected in caught.value.message
