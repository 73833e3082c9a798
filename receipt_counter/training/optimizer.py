"""Optimizers and their parameter groups: one pair (decayed, not decayed) a component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn import Parameter

from receipt_counter.config.schema import Optimizer as OptimizerConfig
from receipt_counter.training.stages import Stage


def parameter_groups(
    trainable: Mapping[str, Sequence[tuple[str, Parameter]]], stage: Stage, weight_decay: float
) -> list[dict[str, Any]]:
    """Split each component's parameters into decayed matrices and undecayed norms, biases and gates.

    Args:
        trainable: {component: [(name, parameter)]} from `apply_stage`.
        stage: brings each component's learning-rate multiplier.
        weight_decay: for the parameters of two or more dimensions.

    Returns:
        torch parameter groups with two keys of ours: "component" and "multiplier".
    """
    groups = []
    for component, parameters in trainable.items():
        decayed = [parameter for _, parameter in parameters if parameter.ndim > 1]
        plain = [parameter for _, parameter in parameters if parameter.ndim <= 1]
        for members, decay in ((decayed, weight_decay), (plain, 0.0)):
            if members:
                own = {"component": component, "multiplier": stage.multipliers[component]}
                groups.append({"params": members, "weight_decay": decay, **own})
    return groups


def build_optimizer(config: OptimizerConfig, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """A torch optimizer; the training loop sets its learning rates before every step.

    All of them act element by element: ZeRO flattens parameters, which would change an optimizer that looks at
    whole matrices (Adafactor, Muon).
    """
    betas = (config.betas[0], config.betas[-1])
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=0.0, betas=betas, fused=True)
    if config.name == "nadam":
        return torch.optim.NAdam(groups, lr=0.0, betas=betas, decoupled_weight_decay=True)
    if config.name == "radam":
        return torch.optim.RAdam(groups, lr=0.0, betas=betas, decoupled_weight_decay=True)
    return torch.optim.SGD(groups, lr=0.0, momentum=config.momentum)


def set_learning_rates(optimizer: torch.optim.Optimizer, rate: float) -> dict[str, float]:
    """Give every group the rate times its multiplier.

    Args:
        optimizer: with groups from `parameter_groups` (or DeepSpeed's wrapper of it).
        rate: training.learning_rate times the schedule's factor.

    Returns:
        {component: its learning rate}.
    """
    rates = {}
    for group in optimizer.param_groups:
        group["lr"] = rate * group["multiplier"]
        rates[group["component"]] = group["lr"]
    return rates
