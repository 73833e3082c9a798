"""Muon: steps along the orthogonalised momentum for matrices, AdamW for everything else.

torch's own takes two-dimensional parameters only and one at a time. Here convolutions count as matrices too, and
matrices of one shape are orthogonalised together: a small model has dozens, and would wait for one after another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_ADAMW_RMS = 0.2  # typical size of the elements of AdamW's steps


class Muon(torch.optim.AdamW):
    """AdamW whose parameter groups with `"orthogonal": True` take Muon's steps instead.

    Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the steps are scaled to the size of
    AdamW's (Liu et al. 2025, "Muon is scalable for LLM training", section 2.2), so that one learning rate and one
    weight decay serve both.

    Args:
        groups: torch parameter groups, each with the key "orthogonal"; the parameters of those that set it have at
            least two dimensions.
        lr: learning rate.
        betas: AdamW's.
        momentum: Muon's (Nesterov's).
    """

    def __init__(self, groups: list[dict[str, Any]], *, lr: float, betas: tuple[float, float], momentum: float) -> None:
        super().__init__(groups, lr=lr, betas=betas)
        self.momentum = momentum

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch overloads it
        """Take one step."""
        by_shape: dict[tuple[int, ...], list[tuple[Parameter, Tensor, dict[str, Any]]]] = defaultdict(list)
        for group in self.param_groups:
            for parameter in group["params"] if group["orthogonal"] else ():
                if parameter.grad is not None:
                    direction = self._direction(parameter, parameter.grad)
                    parameter.grad = None  # AdamW skips what has none
                    by_shape[tuple(direction.shape)].append((parameter, direction, group))
        for shape, members in by_shape.items():
            steps = orthogonalise(torch.stack([direction for _, direction, _ in members]))
            for (parameter, _, group), step in zip(members, steps.unbind(), strict=True):
                parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                parameter.add_(step.view_as(parameter), alpha=-group["lr"] * _ADAMW_RMS * max(shape) ** 0.5)
        loss: float | None = super().step(closure)
        return loss

    def _direction(self, parameter: Parameter, gradient: Tensor) -> Tensor:
        """The momentum's next direction, as a matrix [outputs, all the rest]."""
        state = self.state[parameter]
        if not state:
            # AdamW counts steps in every state it loads
            state.update(step=torch.zeros(()), momentum=torch.zeros_like(parameter))
        state["step"] += 1
        state["momentum"].lerp_(gradient, 1.0 - self.momentum)
        return gradient.lerp(state["momentum"], self.momentum).flatten(1)


def orthogonalise(matrices: Tensor) -> Tensor:
    """Bring all singular values near 1, with five Newton-Schulz iterations of Jordan's quintic.

    Args:
        matrices: [N,R,C].

    Returns:
        [N,R,C], the singular values of each within about 0.7 to 1.2; those of zero stay zero.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    found = matrices.mT if tall else matrices
    found = found / (found.norm(dim=(1, 2), keepdim=True) + 1e-7)
    linear, cubic, quintic = _QUINTIC
    for _ in range(_ITERATIONS):
        square = found @ found.mT
        found = linear * found + (cubic * square + quintic * square @ square) @ found
    result: Tensor = found.mT if tall else found
    return result
