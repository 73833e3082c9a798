"""One sequence an image: its prefix once, then all its questions, none of which sees another."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

IGNORED = -100  # cross_entropy's default ignore_index
PADDING_OWNER = -1


@dataclass
class PackedBatch:
    """B images with all their questions; L = tokens of the longest packed sequence.

    Args:
        pixel_values: float [B,3,S,S].
        input_ids: [B,L].
        position_ids: [B,L]; each question's positions continue from the prefix, as if it were alone.
        attention_mask: bool [B,1,L,L], the tree mask; row = the token that looks. True = may be seen.
        labels: [B,L]; labels[b,i] is the token that position i must predict (already shifted), -100 if none.
        counts: [B], class labels.
        image_start: position of the first image token, the same in every row.
        questions: how many questions in all.
        truncated: how many of them were cut to the longest text allowed.
    """

    pixel_values: Tensor
    input_ids: Tensor
    position_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    counts: Tensor
    image_start: int
    questions: int
    truncated: int

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> PackedBatch:
        """A copy on `device`, its pixels as `dtype` (unchanged if None)."""
        return dataclasses.replace(
            self,
            pixel_values=self.pixel_values.to(device, dtype, non_blocking=True),
            input_ids=self.input_ids.to(device, non_blocking=True),
            position_ids=self.position_ids.to(device, non_blocking=True),
            attention_mask=self.attention_mask.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            counts=self.counts.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class Segment:
    """One question with its answer.

    Args:
        prompt: tokens up to where the answer begins.
        answer: tokens of the answer, its end token included (not there if the answer was cut).
        truncated: whether something was cut.
    """

    prompt: list[int]
    answer: list[int]
    truncated: bool


@dataclass
class PackedText:
    """The text half of a `PackedBatch`, same shapes."""

    input_ids: Tensor
    position_ids: Tensor
    attention_mask: Tensor
    labels: Tensor


def pack_segments(prefix: Sequence[int], rows: Sequence[Sequence[Segment]], padding: int) -> PackedText:
    """Lays out every image's prefix and questions.

    The answer's last token is never an input: nothing is predicted from it.

    Args:
        prefix: tokens all images begin with.
        rows: the questions of each image.
        padding: token that fills shorter rows.

    Returns:
        The packed tensors.
    """
    ids, positions, labels, owners = [], [], [], []
    for row in rows:
        ids.append(list(prefix))
        positions.append(list(range(len(prefix))))
        labels.append([IGNORED] * len(prefix))
        owners.append([0] * len(prefix))  # 0: the prefix; n: the n-th question
        for number, item in enumerate(row, start=1):
            size = len(item.prompt) + len(item.answer) - 1
            ids[-1] += item.prompt + item.answer[:-1]
            positions[-1] += range(len(prefix), len(prefix) + size)
            labels[-1] += [IGNORED] * (len(item.prompt) - 1) + item.answer
            owners[-1] += [number] * size
    return PackedText(
        input_ids=_rectangle(ids, padding),
        position_ids=_rectangle(positions, 0),
        attention_mask=_tree_mask(_rectangle(owners, PADDING_OWNER)),
        labels=_rectangle(labels, IGNORED),
    )


def _rectangle(rows: Sequence[list[int]], fill: int) -> Tensor:
    length = max(map(len, rows))
    # Through numpy: torch reads nested lists five times slower.
    return torch.from_numpy(np.array([row + [fill] * (length - len(row)) for row in rows], dtype=np.int64))


def _tree_mask(owner: Tensor) -> Tensor:
    """Who may see whom, from who owns each position [B,L].

    Every position sees itself, padding too: a row that saw nothing would turn softmax into NaN.
    """
    seen_by_all = owner[:, None, None, :] == 0
    same = owner[:, None, :, None] == owner[:, None, None, :]
    return (seen_by_all | same).tril()
