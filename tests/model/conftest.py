"""A tiny model, its processor and a batch of ragged questions, made once for the whole folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from receipt_counter.config.schema import Architecture, Config, CrossAttention, Model
from receipt_counter.model import ReceiptCounter, ReceiptProcessor, build_model

SIZE = 64  # 16 patches, 4 image tokens
TEXTS = [
    text
    for number in ("no receipt", "1 receipt", "2 receipts")
    for text in (
        "How many receipts do you see?",
        f"There are {number} in this photo.",
        "Is there any receipt here?",
        "Count them.",
        f"I can see {number} on the table.",
    )
]
# One image with three questions of different lengths, one with a single one, one with none, one with two.
QUESTIONS = [
    [
        ("How many receipts do you see?", "There are 2 receipts in this photo."),
        ("Count them.", "2"),
        ("Is there any receipt here?", "I can see 2 receipts on the table."),
    ],
    [("Count them.", "There are no receipts in this photo.")],
    [],
    [("Is there any receipt here?", "1 receipt"), ("How many receipts do you see?", "I can see 1 receipt.")],
]
COUNTS = [2, 0, 1, 1]


def tiny_config(*, heads: int = 4, checkpoint: str | None = None, **data: Any) -> Config:
    """The smallest model worth testing; `data` are keys of the config's `data`."""
    architecture = Architecture(vision_width=32, language_width=32, vision_heads=2, language_heads=2)
    model = Model(checkpoint=checkpoint, architecture=architecture, cross_attention=CrossAttention(num_heads=heads))
    return Config(model=model, data=dataclasses.replace(Config().data, **{"image_size": SIZE, **data}))


def open_gate(model: ReceiptCounter) -> ReceiptCounter:
    """Lets the cross-attention take part, and gives the vision tower positions to tell patches apart by."""
    with torch.no_grad():
        if model.cross_attention is not None:
            model.cross_attention.gate.fill_(0.7)
        model.internvl.model.vision_tower.embeddings.position_embeddings.normal_(std=0.5)
    return model


@pytest.fixture(scope="session")
def pixels() -> Tensor:
    """Four noise images, uint8 [4,S,S,3]."""
    return torch.randint(0, 256, (4, SIZE, SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


Build = Callable[..., tuple[ReceiptCounter, ReceiptProcessor]]


@pytest.fixture(scope="session")
def build() -> Build:
    """Builds a fresh tiny model, always the same, its gate open."""

    def make(**settings: Any) -> tuple[ReceiptCounter, ReceiptProcessor]:
        torch.manual_seed(3)
        model, processor = build_model(tiny_config(**settings), TEXTS)
        return open_gate(model).eval(), processor

    return make
