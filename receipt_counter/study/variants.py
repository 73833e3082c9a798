"""Variants: the config plus named overrides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from receipt_counter.config.loading import resolve_onto, to_plain
from receipt_counter.config.schema import Config, leaves
from receipt_counter.config.source import Setting
from receipt_counter.errors import UserError

BASELINE = "baseline"


@dataclass(frozen=True)
class Variant:
    """The config plus named overrides.

    Attributes:
        name: short and without spaces: Katib joins a trial's arguments unquoted.
        overrides: {dotted key: value}.
        family: the kind of part it changes, for people ("architecture"); empty for the baseline.
        place: where it was written, for messages.
    """

    name: str
    overrides: Mapping[str, Any]
    family: str = ""
    place: str = ""

    def apply(self, config: Config) -> Config:
        """The config with the overrides.

        Raises:
            UserError: everything that is wrong with them, together.
        """
        settings = [Setting(key, value, self.place or self.name) for key, value in self.overrides.items()]
        return resolve_onto(config, settings)

    def changes(self) -> str:
        """What it changes, for people: "training.epochs=3 data.batch_size=8"."""
        return " ".join(f"{key}={to_plain(value)}" for key, value in self.overrides.items())


def write_variants(variants: Iterable[Variant]) -> str:
    """Variants as the YAML text that `read_variants` reads; it travels with an Experiment as a ConfigMap."""
    content = {
        variant.name: {
            "family": variant.family,
            "overrides": {key: to_plain(value) for key, value in variant.overrides.items()},
        }
        for variant in variants
    }
    text: str = yaml.safe_dump(content, sort_keys=False)
    return text


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
        return {
            str(name): Variant(str(name), dict(entry["overrides"]), str(entry["family"]), f"{place}: {name}")
            for name, entry in content.items()
        }
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"{place}: no variants, each NAME: {{family: ..., overrides: {{KEY: VALUE}}}}") from None


def same_config(config: Config, configs: Mapping[str, Config]) -> str | None:
    """The name of a config that is equal to this one, if any is."""
    return next((name for name, other in configs.items() if leaves(other) == leaves(config)), None)
