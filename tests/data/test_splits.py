"""Sharing out pictures: whole groups, wanted shares, decided by content and seed alone."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_counter.data.example import SPLITS
from receipt_counter.data.splits import split_groups

SHARES = {"train": 0.7, "val": 0.1, "analysis": 0.1, "test": 0.1}
SIZES = st.lists(st.integers(1, 6), min_size=1, max_size=40)


def named(sizes: list[int]) -> list[list[str]]:
    return [[f"{number}-{i}" for i in range(size)] for number, size in enumerate(sizes)]


@given(SIZES, st.integers(0, 5))
def test_every_group_goes_to_one_split_and_none_stays_empty(sizes: list[int], seed: int) -> None:
    shared = split_groups(named(sizes), SHARES, seed)
    assert sorted(i for split in SPLITS for i in shared[split]) == list(range(len(sizes)))
    if len(sizes) >= len(SPLITS):
        assert all(shared[split] for split in SPLITS)


@given(SIZES, st.randoms())
def test_order_of_the_groups_does_not_matter(sizes: list[int], random: Random) -> None:
    groups = named(sizes)
    shuffled = random.sample(groups, len(groups))

    def content(given: list[list[str]]) -> dict[str, set[str]]:
        shared = split_groups(given, SHARES, 3)
        return {split: {given[i][0] for i in shared[split]} for split in SPLITS}

    assert content(groups) == content(shuffled)


@pytest.mark.parametrize(
    ("images", "expected"),
    [(4, [1, 1, 1, 1]), (5, [2, 1, 1, 1]), (20, [14, 2, 2, 2]), (1000, [700, 100, 100, 100])],
)
def test_single_pictures_are_shared_out_exactly(images: int, expected: list[int]) -> None:
    shared = split_groups(named([1] * images), SHARES, 0)
    assert [len(shared[split]) for split in SPLITS] == expected


def test_a_large_group_does_not_starve_the_others() -> None:
    shared = split_groups(named([97, 1, 1, 1]), SHARES, 0)
    assert shared["train"] == [0]


def test_another_seed_shares_out_differently() -> None:
    groups = named([1] * 40)
    assert split_groups(groups, SHARES, 0) != split_groups(groups, SHARES, 1)
