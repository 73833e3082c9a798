"""Reading an ablation study: `config/ablation_config.yaml`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from receipt_counter.config.loading import unknown_key
from receipt_counter.config.source import Setting
from receipt_counter.config.validation import DECLARATIONS, InvalidValueError, coerce
from receipt_counter.errors import suggestion
from receipt_counter.study.files import Grouped, read_study, read_values
from receipt_counter.study.settings import FRACTIONAL, ONE_AT_A_TIME, Design, StudySettings
from receipt_counter.study.variants import BASELINE, LONGEST_NAME, Variant

_ALL = "an ablation runs every variant with every seed"
_IDLE = {
    "algorithm": _ALL,
    "early_stopping": _ALL,
    "budget.trials": _ALL,
    "objective.goal": _ALL,
    "confirmation_seeds": "only a search has a winner to confirm",
}


@dataclass(frozen=True)
class AblationPath:
    """A way from the baseline to another config.

    Attributes:
        to: the other config: a file, or settings that change the baseline, in the order written.
        order: each step's keys, or groups of keys, so far as the order was written.
        place: where it was written.
    """

    to: Path | tuple[Setting, ...]
    order: tuple[tuple[str, ...], ...] = ()
    place: str = ""


@dataclass(frozen=True)
class AblationFile:
    """An ablation study.

    Attributes:
        settings: what both kinds of study have.
        variants: the variations, in the file's order, without the baseline.
        design: which of them are combined.
        design_place: where it was written.
        path: from the baseline to another config, if there is one.
    """

    settings: StudySettings
    variants: tuple[Variant, ...]
    design: Design
    design_place: str
    path: AblationPath | None


def read_ablation(path: Path, preset: str) -> AblationFile:
    """Read an ablation study.

    Args:
        path: the file.
        preset: the preset whose section counts.

    Raises:
        UserError: everything that is wrong with it, together.
    """

    def read_parts(
        grouped: Grouped, problems: list[str]
    ) -> tuple[tuple[Variant, ...], Design, str, AblationPath | None]:
        variants = _variants(grouped["families"], problems)
        design = _design(grouped["design"], variants, problems)
        way = _path(grouped["path"], path.parent, problems)
        if not variants and way is None and not problems:
            problems.append(f"{path}: no families of variations and no path: nothing is compared with the baseline")
        return tuple(variants), design, next((s.place for s in grouped["design"]), ""), way

    parts = {"families": lambda name: name.partition(".")[0], "design": lambda _: "", "path": lambda _: ""}
    settings, (variants, design, place, way) = read_study(path, preset, parts, read_parts, _IDLE)
    return AblationFile(settings, variants, design, place, way)


def _variants(settings: Sequence[Setting], problems: list[str]) -> list[Variant]:
    found: dict[str, Variant] = {}
    for setting in settings:
        family, _, rest = setting.name.partition(".")
        name, _, key = rest.partition(".")
        written = found.setdefault(name, Variant(name, {}, family, setting.place))
        if not family or not key:
            hint = "give each variation a name and the keys it changes: {NAME: {KEY: VALUE}}"
            problems.append(f"{setting.place}: {f'families.{family}'.rstrip('.')}: {hint}")
        elif name == BASELINE or not re.fullmatch(r"[\w-]+", name, re.ASCII):
            rule = f"a variation's name is letters, digits, '-', '_', and not {BASELINE}"
            problems.append(f"{setting.place}: {name!r}: {rule}")
        elif not (name[0] + name[-1]).isalnum() or len(name) > LONGEST_NAME:
            rule = f"begins and ends with a letter or digit and has at most {LONGEST_NAME}: it is a label too"
            problems.append(f"{setting.place}: {name!r}: a variation's name {rule}")
        elif written.family != family:
            problems.append(f"{setting.place}: {name} is written twice (first at {written.place})")
        elif key not in DECLARATIONS:
            problems.append(f"{setting.place}: {name}: {unknown_key(dataclasses.replace(setting, name=key))}")
        else:
            try:
                overrides = {**written.overrides, key: coerce(key, setting.value)}
                found[name] = dataclasses.replace(written, overrides=overrides)
            except InvalidValueError as error:
                problems.append(f"{setting.place}: {name}: {key}: {error}")
    return list(found.values())


def _design(settings: Sequence[Setting], variants: Sequence[Variant], problems: list[str]) -> Design:
    places = {setting.name: setting.place for setting in settings}
    before = len(problems)
    design = read_values(settings, Design, problems, "design")
    names, place = [variant.name for variant in variants], next(iter(places.values()), "")
    for name in dict.fromkeys(design.factors):
        if name not in names:
            problems.append(
                f"{places['factors']}: design.factors: {name!r}: no such variation; {suggestion(name, names)}"
            )
        elif design.factors.count(name) > 1:
            problems.append(f"{places['factors']}: design.factors: {name!r} is named twice")
    if len(problems) > before:
        return design
    if design.name == ONE_AT_A_TIME and design.factors:
        problems.append(f"{place}: design.factors: only factorial designs have factors; name one with design.name")
    if design.name != ONE_AT_A_TIME and len(design.factors) < 2:
        problems.append(f"{place}: design.factors: {list(design.factors)}: a factorial design has at least two factors")
    if design.name != FRACTIONAL and design.resolution is not None:
        problems.append(
            f"{places['resolution']}: design.resolution: {design.resolution}: only a {FRACTIONAL} has one; leave it out"
        )
    return design


def _path(settings: Sequence[Setting], directory: Path, problems: list[str]) -> AblationPath | None:
    if not settings:
        return None
    place = settings[0].place
    file: Path | None = None
    keys: list[Setting] = []
    order: tuple[tuple[str, ...], ...] = ()
    for setting in settings:
        head, _, key = setting.name.partition(".")
        if setting.name == "to" and isinstance(setting.value, str):
            file = directory / setting.value
        elif setting.name == "order" and isinstance(setting.value, list):
            order = tuple(tuple(map(str, e)) if isinstance(e, list) else (str(e),) for e in setting.value)
        elif head == "to" and key in DECLARATIONS:
            keys.append(dataclasses.replace(setting, name=key))
        elif head == "to" and key:
            problems.append(f"{setting.place}: path.to: {unknown_key(dataclasses.replace(setting, name=key))}")
        elif head in ("to", "order"):
            problems.append(f"{setting.place}: path.{head}: {setting.value!r} is {_PATH_WORDS[head]}")
        else:
            hint = suggestion(head, ("to", "order")) if head else "write it as path: {to: FILE}"
            problems.append(f"{setting.place}: path{f'.{head}' if head else ''}: unknown key; {hint}")
    if not any(setting.name.partition(".")[0] in ("", "to") for setting in settings):
        problems.append(f"{place}: path: no `to`: name the config it leads to, a file or {{KEY: VALUE}}")
    return AblationPath(file or tuple(keys), order, place)


_PATH_WORDS = {
    "to": "neither a config file's name nor {KEY: VALUE}",
    "order": "not a list of keys; keys that change in one step stand in a list of their own",
}
