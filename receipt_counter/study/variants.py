"""Variants: the config plus named overrides."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from receipt_counter.config.loading import resolve_onto, to_plain
from receipt_counter.config.schema import Config, leaves
from receipt_counter.config.source import Setting
from receipt_counter.errors import UserError

BASELINE = "baseline"
LONGEST_NAME = 63  # of a variant: its trials are labelled with it, and a label has so many characters


@dataclass(frozen=True)
class Step:
    """A place on an ablation path.

    Attributes:
        number: counted from 1; the baseline is where the path begins.
        changes: what this step adds to the one before, for people.
    """

    number: int
    changes: str


@dataclass(frozen=True)
class Variant:
    """The config plus named overrides.

    Attributes:
        name: without spaces, since Katib joins a trial's arguments unquoted, and a label of its trials.
        overrides: {dotted key: value}.
        family: the kind of part it changes, for people ("architecture"); empty for the baseline and for what is there
            for a design or a path alone: it is not compared with the baseline as a variation.
        place: where it was written, for messages.
        levels: its cell in a factorial design, {factor: level}; empty where it is none.
        step: its place on the ablation path, if it has one.
    """

    name: str
    overrides: Mapping[str, Any]
    family: str = ""
    place: str = ""
    levels: Mapping[str, str] = field(default_factory=dict)
    step: Step | None = None

    def apply(self, config: Config) -> Config:
        """The config with the overrides.

        Raises:
            UserError: everything that is wrong with them, together.
        """
        settings = [Setting(key, value, self.place or self.name) for key, value in self.overrides.items()]
        return resolve_onto(config, settings)

    def changes(self) -> str:
        """What it changes, for people: "training.epochs=3 data.batch_size=8"."""
        return changes_text(self.overrides)


def short_name(name: str) -> str:
    """A variant's name, cut where it is too long for a label; the end then tells it from others that begin alike."""
    if len(name) <= LONGEST_NAME:
        return name
    end = f"-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return name[: LONGEST_NAME - len(end)].rstrip("-_.") + end


def changes_text(overrides: Mapping[str, Any]) -> str:
    """Overrides for people, as they would be written after `--set`, but for the last digits of long numbers."""
    return " ".join(
        f"{key}={f'{value:.4g}' if isinstance(value, float) else override_text(value)}"
        for key, value in overrides.items()
    )


def override_text(value: Any) -> str:
    """A value without spaces, as `--set` reads it back: Katib joins a trial's arguments unquoted."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return "[" + ",".join(override_text(element) for element in value) + "]"
    return str(value)


def write_variants(variants: Iterable[Variant]) -> str:
    """Variants as the YAML text that `read_variants` reads; it travels with an Experiment as a ConfigMap."""
    text: str = yaml.safe_dump({variant.name: _written(variant) for variant in variants}, sort_keys=False)
    return text


def _written(variant: Variant) -> dict[str, Any]:
    """A variant's entry; its place in a design and on a path only where it has one."""
    entry: dict[str, Any] = {
        "family": variant.family,
        "overrides": {key: to_plain(value) for key, value in variant.overrides.items()},
    }
    if variant.levels:
        entry["levels"] = dict(variant.levels)
    if variant.step:
        entry["step"] = to_plain(variant.step)
    return entry


def read_variants(text: str, place: str) -> dict[str, Variant]:
    """Read what `write_variants` wrote.

    Args:
        text: the YAML.
        place: where it comes from, for messages.

    Returns:
        {name: variant}, in the text's order.

    Raises:
        UserError: it is something else.
    """
    try:
        content = yaml.safe_load(text)
        return {str(name): _read(str(name), entry, f"{place}: {name}") for name, entry in content.items()}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"{place}: no variants, each NAME: {{family: ..., overrides: {{KEY: VALUE}}}}") from None


def _read(name: str, entry: Mapping[str, Any], place: str) -> Variant:
    step = Step(**entry["step"]) if "step" in entry else None
    return Variant(name, dict(entry["overrides"]), str(entry["family"]), place, dict(entry.get("levels", {})), step)


def same_config(config: Config, configs: Mapping[str, Config]) -> str | None:
    """The name of a config that is equal to this one, if any is."""
    return next((name for name, other in configs.items() if leaves(other) == leaves(config)), None)
