"""Gradient norms of each component, for people who watch training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import Parameter


def gradient_norms(engine: Any, trainable: Mapping[str, list[tuple[str, Parameter]]]) -> dict[str, float]:
    """Euclidean norm of the gradients before clipping, in all and a component.

    Args:
        engine: the DeepSpeed engine, after the backward pass and before the step.
        trainable: {component: [(name, parameter)]}.

    Returns:
        {"grad_norm": ..., "grad_norm_<component>": ...}.
    """
    from deepspeed.utils import safe_get_full_grad

    sharded = engine.zero_optimization()
    squares = {}
    for component, parameters in trainable.items():
        # with ZeRO a gradient is in pieces, and asking for the whole is a collective call
        gradients = [safe_get_full_grad(p) if sharded else p.grad for _, p in parameters]
        found = [gradient.float() for gradient in gradients if gradient is not None]
        norms = torch._foreach_norm(found) if found else ()
        squares[component] = sum(float(norm) ** 2 for norm in norms)
    norms_by_name = {f"grad_norm_{component}": math.sqrt(square) for component, square in squares.items()}
    return {"grad_norm": math.sqrt(sum(squares.values())), **norms_by_name}
