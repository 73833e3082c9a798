"""Which split a picture goes to: decided by its content and a seed, never by its name or its place in a list."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from receipt_counter.data.example import SPLITS


def split_groups(groups: Sequence[Sequence[str]], shares: Mapping[str, float], seed: int) -> dict[str, list[int]]:
    """Share out groups of pictures, each to one split.

    Groups are taken in the order of a hash of seed and content, so adding one picture moves few of the others.
    Every split gets a group where there are as many groups as splits.

    Args:
        groups: content hashes of the pictures of each group, in any order.
        shares: {split: share of the pictures}; the training split takes what is left.
        seed: another one shares out differently.

    Returns:
        {split: indices of its groups}.
    """
    total = sum(len(group) for group in groups)
    order = sorted(range(len(groups)), key=lambda i: hashlib.sha256(f"{seed} {min(groups[i])}".encode()).digest())
    shared: dict[str, list[int]] = {split: [] for split in SPLITS}
    others = [split for split in SPLITS if split != "train"]
    for position, split in enumerate(others):
        wanted, taken = max(round(shares[split] * total), 1), 0
        still_to_serve = len(SPLITS) - position - 1
        for i in list(order):
            if len(order) <= still_to_serve or taken >= wanted:
                break
            if taken + len(groups[i]) <= wanted:
                order.remove(i)
                shared[split].append(i)
                taken += len(groups[i])
        if not taken and len(order) > still_to_serve:
            smallest = min(order, key=lambda i: len(groups[i]))
            order.remove(smallest)
            shared[split].append(smallest)
    shared["train"] = order
    return shared
