"""Stages: spans of epochs with their own trainable parts and learning-rate multipliers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.nn import Parameter

from receipt_counter.config.schema import Config

if TYPE_CHECKING:
    from receipt_counter.model.receipt_counter import ReceiptCounter

ALL_LAYERS = -1


@dataclass(frozen=True)
class Stage:
    """A span of epochs.

    Args:
        number: 1, 2 or 3.
        first_epoch, last_epoch: inclusive, counted from 1.
        vision_layers: how many of the last vision layers train; 0 none, ALL_LAYERS the whole encoder.
        multipliers: {component: factor on training.learning_rate}; 0 freezes the component.
    """

    number: int
    first_epoch: int
    last_epoch: int
    vision_layers: int
    multipliers: Mapping[str, float]


def plan_stages(config: Config) -> list[Stage]:
    """The stages of a run, in order; a stage that would have no epoch is left out.

    A stage's multiplier replaces the component's own while the stage lasts: stage 2's that of the vision
    encoder, stage 3's those of all components.
    """
    training = config.training
    own = {item.name: getattr(training.learning_rate_multipliers, item.name) for item in _multiplier_fields(config)}
    whole = 0 if config.model.freeze_vision_encoder else ALL_LAYERS
    if not training.three_stage.enabled:
        return [Stage(1, 1, training.epochs, whole, own)]
    stage2, stage3 = training.three_stage.stage2, training.three_stage.stage3
    part = 0 if config.model.freeze_vision_encoder else stage2.vision_layers
    planned = (
        Stage(1, 1, stage2.start_epoch - 1, 0, own),
        Stage(2, stage2.start_epoch, stage3.start_epoch - 1, part, {**own, "vision": stage2.lr_multiplier}),
        Stage(3, stage3.start_epoch, training.epochs, whole, dict.fromkeys(own, stage3.lr_multiplier)),
    )
    ends = (dataclasses.replace(stage, last_epoch=min(stage.last_epoch, training.epochs)) for stage in planned)
    return [stage for stage in ends if stage.first_epoch <= stage.last_epoch]


def _multiplier_fields(config: Config) -> tuple[dataclasses.Field[float], ...]:
    return dataclasses.fields(config.training.learning_rate_multipliers)


def stage_of(stages: list[Stage], epoch: int) -> Stage:
    """The stage an epoch belongs to."""
    return next(stage for stage in stages if stage.first_epoch <= epoch <= stage.last_epoch)


def apply_stage(model: ReceiptCounter, stage: Stage) -> dict[str, list[tuple[str, Parameter]]]:
    """Freeze and open the model's parts for a stage.

    Args:
        model: its parameters' `requires_grad` are set.
        stage: what trains.

    Returns:
        {component: [(name, parameter), ...]} of what trains; components that are frozen are absent.
    """
    open_vision = _open_vision_parameters(model, stage.vision_layers)
    trainable: dict[str, list[tuple[str, Parameter]]] = {}
    for component, parameters in model.component_parameters().items():
        for name, parameter in parameters:
            opened = component != "vision" or parameter in open_vision
            parameter.requires_grad_(opened and stage.multipliers[component] > 0)
            if parameter.requires_grad:
                trainable.setdefault(component, []).append((name, parameter))
    return trainable


def _open_vision_parameters(model: ReceiptCounter, layers: int) -> set[Parameter]:
    if layers == ALL_LAYERS:
        return {parameter for _, parameter in model.component_parameters()["vision"]}
    opened = model.vision_layers()[-layers:] if layers else []
    return {parameter for layer in opened for parameter in layer.parameters()}
