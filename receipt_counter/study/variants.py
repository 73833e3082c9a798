"""Variants: the config plus named overrides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from receipt_counter.config.loading import resolve_onto, to_plain
from receipt_counter.config.schema import Config, leaves
from receipt_counter.config.source import Setting
from receipt_counter.errors import UserError, suggestion

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
    content = {variant.name: {key: to_plain(value) for key, value in variant.overrides.items()} for variant in variants}
    text: str = yaml.safe_dump(content, sort_keys=False)
    return text


def read_variant(path: Path, name: str) -> Variant:
    """Read one variant of a file.

    Raises:
        UserError: no such file or variant.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot read the variants: {error}") from None
    if not isinstance(content, dict) or name not in content:
        known = [str(key) for key in content] if isinstance(content, dict) else []
        raise UserError(f"{path}: no variant {name!r}; {suggestion(name, known)}")
    return Variant(name, content[name] or {}, place=f"{path}: {name}")


def same_config(config: Config, configs: Mapping[str, Config]) -> str | None:
    """The name of a config that is equal to this one, if any is."""
    return next((name for name, other in configs.items() if leaves(other) == leaves(config)), None)
