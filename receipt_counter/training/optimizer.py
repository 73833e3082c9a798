"""Optimizers and their parameter groups: matrices, tables and plain vectors of each component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn import Parameter

from receipt_counter.config.schema import Optimizer as OptimizerConfig
from receipt_counter.training.muon import Muon
from receipt_counter.training.stages import Stage

# Rows that are looked up or added, not multiplied with: no map from inputs to outputs that could be orthogonal.
TABLES = ("embed_tokens.weight", "lm_head.weight", "position_embeddings", "cls_token")


def parameter_groups(
    trainable: Mapping[str, Sequence[tuple[str, Parameter]]], stage: Stage, weight_decay: float
) -> list[dict[str, Any]]:
    """Split each component's parameters into matrices and tables, which decay, and norms, biases and gates.

    Args:
        trainable: {component: [(name, parameter)]} from `apply_stage`.
        stage: brings each component's learning-rate multiplier.
        weight_decay: for the parameters of two or more dimensions.

    Returns:
        torch parameter groups with three keys of ours: "component", "multiplier" and "orthogonal" (matrices).
    """
    groups = []
    for component, parameters in trainable.items():
        matrices = [p for name, p in parameters if p.ndim > 1 and not name.endswith(TABLES)]
        tables = [p for name, p in parameters if p.ndim > 1 and name.endswith(TABLES)]
        plain = [p for _, p in parameters if p.ndim <= 1]
        for members, decay, orthogonal in (
            (matrices, weight_decay, True),
            (tables, weight_decay, False),
            (plain, 0.0, False),
        ):
            if members:
                own = {"component": component, "multiplier": stage.multipliers[component], "orthogonal": orthogonal}
                groups.append({"params": members, "weight_decay": decay, **own})
    return groups


def build_optimizer(config: OptimizerConfig, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """A torch optimizer; the training loop sets its learning rates before every step.

    All but Muon act element by element, so that ZeRO may flatten the parameters; the config refuses Muon with it.
    """
    betas = (config.betas[0], config.betas[-1])
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=0.0, betas=betas, fused=True)
    if config.name == "muon":
        return Muon(groups, lr=0.0, betas=betas, momentum=config.momentum)
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
