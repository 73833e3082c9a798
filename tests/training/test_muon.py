"""Muon: orthogonal steps for matrices, AdamW's for the rest."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from receipt_counter.training.muon import Muon, orthogonalise

SHAPES = {"square": (64, 64), "wide": (16, 144), "tall": (192, 64), "one row": (1, 20)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    left, _, right = torch.linalg.svd(
        torch.randn(5, *shape, generator=torch.Generator().manual_seed(0)), full_matrices=False
    )
    spread = torch.linspace(0.05, 1.0, min(shape)) * 1e-3
    values = torch.linalg.svdvals(orthogonalise(left * spread @ right))
    assert values.min() > 0.6  # Jordan's coefficients trade exactness for speed
    assert values.max() < 1.3


def test_matrices_of_one_shape_do_not_mix() -> None:
    matrices = torch.randn(4, 12, 20, generator=torch.Generator().manual_seed(1))
    alone = torch.cat([orthogonalise(matrix[None]) for matrix in matrices])
    assert torch.allclose(orthogonalise(matrices), alone, atol=1e-5)


def groups(model: nn.Module) -> list[dict[str, Any]]:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    return [
        {"params": matrices, "weight_decay": 0.1, "orthogonal": True},
        {"params": vectors, "weight_decay": 0.0, "orthogonal": False},
    ]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 8), nn.ReLU(), nn.Linear(8, 2))


def loss(model: nn.Module, step: int) -> Tensor:
    inputs = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(step))
    found: Tensor = nn.functional.cross_entropy(model(inputs), (inputs.mean((1, 2, 3)) > 0).long())
    return found


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> float:
    value = 0.0
    for step in steps:
        optimizer.zero_grad()
        found = loss(model, step)
        found.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        value = found.item()
    return value


def test_vectors_take_the_steps_of_adamw() -> None:
    mine, its = network(), network()
    muon = Muon(groups(mine), lr=0.01, betas=(0.9, 0.99), momentum=0.95)
    adamw = torch.optim.AdamW(groups(its), lr=0.01, betas=(0.9, 0.99))
    train(mine, muon, range(1))
    train(its, adamw, range(1))
    for ours, theirs in zip(mine.parameters(), its.parameters(), strict=True):
        assert torch.equal(ours, theirs) == (ours.ndim == 1)


def test_it_learns_and_continues_where_it_stopped() -> None:
    model = network()
    optimizer = Muon(groups(model), lr=0.01, betas=(0.9, 0.99), momentum=0.95)
    first = train(model, optimizer, range(1))
    train(model, optimizer, range(1, 60))
    twin = copy.deepcopy(model)
    other = Muon(groups(twin), lr=0.01, betas=(0.9, 0.99), momentum=0.95)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    last = train(model, optimizer, range(60, 120))
    assert last < 0.5 * first
    assert train(twin, other, range(60, 120)) == last
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
