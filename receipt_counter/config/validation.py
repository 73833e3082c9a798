"""What values a key accepts, and which keys have no effect beside which others."""

from __future__ import annotations

import dataclasses
import math
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from receipt_counter.config.schema import OBJECTIVES_MAXIMISED, Config, leaves
from receipt_counter.errors import UserError, suggestion
from receipt_counter.storage.remote import is_url, split_url


class InvalidValueError(ValueError):
    """A value a key does not accept; the text says what it accepts."""


def declarations(cls: type[Any] = Config, prefix: str = "") -> Iterator[tuple[str, Any, dataclasses.Field[Any]]]:
    """Every leaf key of the schema as (dotted name, type, dataclass field)."""
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        name = f"{prefix}.{item.name}" if prefix else item.name
        if dataclasses.is_dataclass(hints[item.name]):
            yield from declarations(hints[item.name], name)
        else:
            yield name, hints[item.name], item


DECLARATIONS = {name: (hint, item) for name, hint, item in declarations()}
GROUPS = {name.rsplit(".", depth)[0] for name in DECLARATIONS for depth in range(1, name.count(".") + 1)}


def coerce(name: str, value: Any, declared: Mapping[str, tuple[Any, dataclasses.Field[Any]]] = DECLARATIONS) -> Any:
    """Check one value against its key's type, choices and bounds.

    Args:
        name: dotted key, known to the schema.
        value: as YAML gave it. "1e-4" counts as a number: YAML 1.1 reads it as text.
        declared: {dotted key: (type, field)} of the schema.

    Returns:
        The value in the key's own type.

    Raises:
        InvalidValueError: with a sentence saying what the key accepts.
    """
    hint, item = declared[name]
    if hint is str and item.metadata.get("pattern") and type(value) in (int, float):
        value = f"{value:g}"  # "cpu: 8", as YAML reads it
    converted = _convert(value, hint)
    for element in converted if isinstance(converted, tuple) else (converted,):
        _check_bounds(element, item.metadata)
    return converted


def _convert(value: Any, hint: Any) -> Any:
    arguments = typing.get_args(hint)
    if type(None) in arguments:
        return None if value is None else _convert(value, next(a for a in arguments if a is not type(None)))
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, (list, tuple)):
            raise InvalidValueError(f"{value!r} is not a list of {_LISTS[arguments[0]]}")
        return tuple(_convert(element, arguments[0]) for element in value)
    if hint is bool and isinstance(value, bool):
        return value
    if hint is str and isinstance(value, str):
        return value
    if hint in (int, float) and not isinstance(value, bool):
        number = _number(value)
        if number is not None and (hint is float or number == int(number)):
            return hint(number)
    raise InvalidValueError(f"{value!r} is not {_ARTICLES[hint]}")


_LISTS = {
    int: "whole numbers, such as [512, 256]",
    float: "numbers, such as [0.2, 0.1]",
    str: "texts, such as [one, another]",
}
_ARTICLES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def _number(value: Any) -> float | None:
    try:
        number = float(value) if isinstance(value, (int, float, str)) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _check_bounds(value: Any, metadata: Any) -> None:
    if value is None:
        return
    choices, minimum, maximum, above = (metadata.get(k) for k in ("choices", "minimum", "maximum", "above"))
    if choices and value not in choices:
        raise InvalidValueError(f"{value!r} is not one of them; {suggestion(str(value), map(str, choices))}")
    if metadata.get("pattern") and not re.fullmatch(metadata["pattern"][0], value):
        raise InvalidValueError(f"{value!r} is not {metadata['pattern'][1]}")
    if minimum is not None and value < minimum:
        raise InvalidValueError(f"{value!r} is below the smallest value {minimum:g}")
    if above is not None and value <= above:
        raise InvalidValueError(f"{value!r} must be above {above:g}")
    if maximum is not None and value > maximum:
        raise InvalidValueError(f"{value!r} is above the largest value {maximum:g}")


@dataclasses.dataclass(frozen=True)
class NoEffect:
    """Keys that do nothing while another key has some value.

    Args:
        keys: dotted names or the prefix of a group.
        because: the other key.
        applies: whether they do nothing in this config.
        reason: the sentence for the user.
    """

    keys: tuple[str, ...]
    because: str
    applies: Callable[[Config], bool]
    reason: str


_STAGES = "training.three_stage"
NO_EFFECT = (
    NoEffect(
        ("model.architecture",),
        "model.checkpoint",
        lambda c: c.model.checkpoint is not None,
        "the checkpoint brings its own architecture",
    ),
    NoEffect(("data.render",), "data.path", lambda c: c.data.path is not None, "the dataset at data.path is used"),
    NoEffect(
        ("model.cross_attention.dropout", "training.learning_rate_multipliers.cross_attention"),
        "model.cross_attention.num_heads",
        lambda c: c.model.cross_attention.num_heads == 0,
        "0 heads remove the cross-attention",
    ),
    NoEffect(
        (f"{_STAGES}.stage2", "training.learning_rate_multipliers.vision"),
        "model.freeze_vision_encoder",
        lambda c: c.model.freeze_vision_encoder,
        "the vision encoder never trains",
    ),
    NoEffect(
        (f"{_STAGES}.stage2", f"{_STAGES}.stage3"),
        f"{_STAGES}.enabled",
        lambda c: not c.training.three_stage.enabled,
        "there is one stage",
    ),
    NoEffect(
        ("training.learning_rate_multipliers.vision",),
        f"{_STAGES}.enabled",
        lambda c: c.training.three_stage.enabled,
        "the multipliers of stages 2 and 3 replace it; set training.three_stage.stage2.lr_multiplier",
    ),
    NoEffect(
        (f"{_STAGES}.stage2.lr_multiplier",),
        f"{_STAGES}.stage2.vision_layers",
        lambda c: c.training.three_stage.stage2.vision_layers == 0,
        "stage 2 opens no vision layer",
    ),
    NoEffect(
        ("training.optimizer.momentum",),
        "training.optimizer.name",
        lambda c: c.training.optimizer.name not in ("sgd", "muon"),
        "only sgd and muon have a momentum; the others have betas",
    ),
    NoEffect(
        ("training.optimizer.betas",),
        "training.optimizer.name",
        lambda c: c.training.optimizer.name == "sgd",
        "sgd has a momentum instead",
    ),
    NoEffect(
        ("training.schedule.epochs", "training.schedule.min_ratio"),
        "training.schedule.name",
        lambda c: c.training.schedule.name == "constant",
        "a constant schedule has no horizon",
    ),
    NoEffect(
        ("training.early_stopping.patience", "training.early_stopping.min_delta"),
        "training.early_stopping.enabled",
        lambda c: not c.training.early_stopping.enabled,
        "early stopping is off",
    ),
)


def conflicts(config: Config) -> list[tuple[str, str]]:
    """Pairs of values that cannot go together.

    Returns:
        (dotted key, sentence) for each, all of them.
    """
    found: list[tuple[str, str]] = []
    training, model, mix = config.training, config.model, config.data.render.question_mix
    if len(model.classifier.dropout) != len(model.classifier.hidden):
        found.append(
            (
                "model.classifier.dropout",
                f"{list(model.classifier.dropout)} needs one value per hidden layer {list(model.classifier.hidden)}",
            )
        )
    if training.loss_weights.classification == training.loss_weights.language == 0:
        found.append(("training.loss_weights", "both weights are 0: nothing would be learnt"))
    stages = training.three_stage
    if stages.enabled and stages.stage3.start_epoch < stages.stage2.start_epoch:
        found.append(
            (
                f"{_STAGES}.stage3.start_epoch",
                f"{stages.stage3.start_epoch} is before stage 2's {stages.stage2.start_epoch}",
            )
        )
    if not any(leaves(mix).values()):
        found.append(("data.render.question_mix", "all shares are 0: no question could be asked"))
    needs_answers = training.early_stopping.metric in OBJECTIVES_MAXIMISED[2:]
    if needs_answers and config.evaluation.epoch_answer_images == 0:
        metric = training.early_stopping.metric
        found.append(("training.early_stopping.metric", f"{metric} needs evaluation.epoch_answer_images above 0"))
    if config.data.path is None and model.classes > config.data.render.max_receipts + 1:
        most = config.data.render.max_receipts
        found.append(("model.classes", f"{model.classes} classes need pictures with more than {most} receipts"))
    found += _optimizer_conflicts(config)
    found += _architecture_conflicts(config) if model.checkpoint is None else []
    found += _gate_conflicts(config)
    found += _cluster_conflicts(config)
    return found


def _optimizer_conflicts(config: Config) -> list[tuple[str, str]]:
    training, betas = config.training, list(config.training.optimizer.betas)
    found = []
    if len(betas) != 2:
        found.append(("training.optimizer.betas", f"{betas} needs exactly two values"))
    if training.optimizer.name == "muon" and (training.zero_stage or training.precision != "fp32"):
        why = "muon looks at whole matrices, which ZeRO and bf16 flatten"
        found.append(
            ("training.optimizer.name", f"{why}: it needs training.zero_stage 0 and training.precision fp32; or adamw")
        )
    return found


def _architecture_conflicts(config: Config) -> list[tuple[str, str]]:
    tiny, heads = config.model.architecture, config.model.cross_attention.num_heads
    pairs = (
        ("model.architecture.vision_heads", tiny.vision_heads, tiny.vision_width),
        ("model.architecture.language_heads", tiny.language_heads, tiny.language_width),
        ("model.cross_attention.num_heads", heads, tiny.language_width),
    )
    found = [
        (key, f"{count} heads do not divide the width {width}; nearest that does: {_nearest_divisor(count, width)}")
        for key, count, width in pairs
        if count and width % count
    ]
    # pixel shuffle joins 2 x 2 patches into one image token
    side, cell = config.data.image_size, 2 * tiny.patch_size
    if side % cell:
        below = max(cell, side // cell * cell)
        found.append(
            ("data.image_size", f"{side} is no multiple of {cell} (two patches); nearest: {below} or {below + cell}")
        )
    return found


def _nearest_divisor(count: int, width: int) -> int:
    return min((d for d in range(1, width + 1) if width % d == 0), key=lambda d: abs(d - count))


def _gate_conflicts(config: Config) -> list[tuple[str, str]]:
    lower_is_better = ("seconds_per_image", "model_gigabytes")
    found = []
    for item in dataclasses.fields(config.gates):
        gate = getattr(config.gates, item.name)
        if gate.target < gate.minimum if item.name not in lower_is_better else gate.target > gate.minimum:
            found.append(
                (f"gates.{item.name}", f"the target {gate.target:g} is easier than the minimum {gate.minimum:g}")
            )
    return found


def _cluster_conflicts(config: Config) -> list[tuple[str, str]]:
    cluster = config.cluster
    found = []
    if not _is_place(cluster.store):
        letters = "of letters, digits, '.', '_' and '-'"
        found.append(
            ("cluster.store", f"{cluster.store!r} is neither an absolute directory nor s3://BUCKET/PREFIX, {letters}")
        )
    if cluster.gpus and cluster.training_image is None and "@" in cluster.image:
        why = f"cluster.image names one image by its digest, and cluster.gpus {cluster.gpus} needs the one with CUDA"
        found.append(("cluster.training_image", f"{why}; name it by its own digest"))
    if cluster.nodes > 1 and not cluster.is_on_volume:
        why = "they write one checkpoint together, and read it together; name a directory, of a volume that all see"
        found.append(("cluster.store", f"{cluster.nodes} nodes: {why}"))
    return found


def _is_place(store: str) -> bool:
    """Whether a store's location is one that containers can be given, as a mount's path or a URL."""
    if not re.fullmatch(r"(/(?!\.\.?(/|$))[\w.-]+)+/?|s3://[\w./-]+", store):
        return False
    with suppress(UserError):
        return not is_url(store) or bool(split_url(store))
    return False


def warnings(config: Config) -> list[str]:
    """Values that are allowed and do nothing in this config, one sentence each."""
    stages, epochs = config.training.three_stage, config.training.epochs
    found = []
    for number, stage in ((2, stages.stage2), (3, stages.stage3)):
        if stages.enabled and stage.start_epoch > epochs:
            found.append(
                f"training.three_stage.stage{number}.start_epoch {stage.start_epoch} is after the last epoch"
                f" ({epochs}): stage {number} never starts"
            )
    return found
