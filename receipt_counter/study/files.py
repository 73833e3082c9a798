"""Reading study files: `config/hyperparameter_config.yaml` and `config/ablation_config.yaml`.

A section `presets.NAME` holds what the study is at that preset's size: it replaces settings one by one, and each
parameter, or family of variations, that it names as a whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receipt_counter.config.loading import build, preset_names, unknown_key
from receipt_counter.config.schema import leaves
from receipt_counter.config.source import Setting, read_yaml
from receipt_counter.config.validation import DECLARATIONS, InvalidValueError, coerce, declarations
from receipt_counter.errors import UserError, suggestion
from receipt_counter.study.settings import SearchParameter, StudySettings
from receipt_counter.study.variants import BASELINE, Variant

_PRESETS, _PARAMETERS, _FAMILIES, _CROSSED = "presets.", "parameters.", "families.", "crossed"
_SETTINGS = {name: (hint, item) for name, hint, item in declarations(StudySettings)}
_RANGE = ("values", "min", "max", "step", "log")


@dataclass(frozen=True)
class SearchFile:
    """A hyperparameter study."""

    settings: StudySettings
    parameters: tuple[SearchParameter, ...]


@dataclass(frozen=True)
class AblationFile:
    """An ablation study.

    Attributes:
        settings: what both kinds of study have.
        variants: the variations, in the file's order, without the baseline.
        crossed: names of the variations that are also tried together.
    """

    settings: StudySettings
    variants: tuple[Variant, ...]
    crossed: tuple[str, ...]


def read_search(path: Path, preset: str) -> SearchFile:
    """Read a hyperparameter study.

    Args:
        path: the file.
        preset: the preset whose section counts.

    Raises:
        UserError: everything that is wrong with it, together.
    """
    problems: list[str] = []
    settings = _sections(path, preset, _PARAMETERS, problems)
    parameters = _parameters([s for s in settings if s.name.startswith(_PARAMETERS)], problems)
    known = _settings([s for s in settings if not s.name.startswith(_PARAMETERS)], _PARAMETERS, problems)
    if not parameters and not problems:
        problems.append(f"{path}: no parameters: there is nothing to search")
    if problems:
        raise UserError("\n".join(problems))
    return SearchFile(known, tuple(parameters))


def read_ablation(path: Path, preset: str) -> AblationFile:
    """Read an ablation study.

    Args:
        path: the file.
        preset: the preset whose section counts.

    Raises:
        UserError: everything that is wrong with it, together.
    """
    problems: list[str] = []
    settings = _sections(path, preset, _FAMILIES, problems)
    variants = _variants([s for s in settings if s.name.startswith(_FAMILIES)], problems)
    crossed = _crossed([s for s in settings if s.name == _CROSSED], variants, problems)
    others = [s for s in settings if not s.name.startswith(_FAMILIES) and s.name != _CROSSED]
    known = _settings(others, _FAMILIES, problems)
    if not variants and not problems:
        problems.append(f"{path}: no families of variations: there is nothing to compare with the baseline")
    if problems:
        raise UserError("\n".join(problems))
    return AblationFile(known, tuple(variants), crossed)


def _sections(path: Path, preset: str, items: str, problems: list[str]) -> list[Setting]:
    """The settings that count: the file's own, with the preset's section over them."""
    written = read_yaml(path)
    seen: dict[str, str] = {}
    for setting in written:
        if setting.name in seen:
            problems.append(f"{setting.place}: {setting.name} is written twice (first at {seen[setting.name]})")
        seen[setting.name] = setting.place
    own = [setting for setting in written if not setting.name.startswith(_PRESETS)]
    section: list[Setting] = []
    for setting in written:
        if not setting.name.startswith(_PRESETS):
            continue
        name, _, rest = setting.name.removeprefix(_PRESETS).partition(".")
        if name not in preset_names():
            problems.append(f"{setting.place}: presets.{name}: no such preset; {suggestion(name, preset_names())}")
        elif name == preset:
            section.append(dataclasses.replace(setting, name=rest))
    named = {_item(setting.name, items) for setting in section}
    kept = [setting for setting in own if _item(setting.name, items) not in named]
    return kept + [s for s in section if s.value is not None or s.name in _SETTINGS]


def _item(name: str, items: str) -> str:
    """What a setting belongs to: a parameter, a family, or itself."""
    if name.startswith(_FAMILIES) and items == _FAMILIES:
        return ".".join(name.split(".")[:2])
    if name.startswith(_PARAMETERS) and items == _PARAMETERS:
        head, _, tail = name.rpartition(".")
        return head if tail in _RANGE else name
    return name


def _settings(settings: Sequence[Setting], items: str, problems: list[str]) -> StudySettings:
    """The part that both kinds of study have."""
    values = leaves(StudySettings())
    for setting in settings:
        if setting.name not in _SETTINGS:
            valid = [*_SETTINGS, items.rstrip("."), "presets", *([_CROSSED] if items == _FAMILIES else [])]
            problems.append(f"{setting.place}: {setting.name}: unknown key; {suggestion(setting.name, valid)}")
            continue
        try:
            values[setting.name] = coerce(setting.name, setting.value, _SETTINGS)
        except InvalidValueError as error:
            problems.append(f"{setting.place}: {setting.name}: {error}")
    known: StudySettings = build(values, StudySettings)
    place = {setting.name: f"{setting.place}: " for setting in settings}.get("seeds", "")
    if not known.seeds or len(set(known.seeds)) < len(known.seeds):
        problems.append(f"{place}seeds: {list(known.seeds)}: at least one, each once")
    return known


def _parameters(settings: Sequence[Setting], problems: list[str]) -> list[SearchParameter]:
    grouped: dict[str, dict[str, Setting]] = {}
    for setting in settings:
        key = setting.name.removeprefix(_PARAMETERS)
        name, _, word = key.rpartition(".")
        if word not in _RANGE:
            hint = f"write it as {key}: {{values: [...]}} or {{min: ..., max: ...}}"
            problems.append(f"{setting.place}: parameters.{key}: {hint}")
        elif name not in DECLARATIONS:
            problems.append(f"{setting.place}: parameters: {unknown_key(dataclasses.replace(setting, name=name))}")
        else:
            grouped.setdefault(name, {})[word] = setting
    found = [_parameter(name, parts, problems) for name, parts in grouped.items()]
    return [parameter for parameter in found if parameter is not None]


def _parameter(name: str, parts: dict[str, Setting], problems: list[str]) -> SearchParameter | None:
    place = next(iter(parts.values())).place
    try:
        if set(parts) == {"values"}:
            return SearchParameter(name, _listed(name, parts["values"].value), place=place)
        if "values" in parts or not {"min", "max"} <= set(parts):
            raise InvalidValueError("give either `values`, or `min` and `max` (with `step` or `log`)")
        return _range(name, {word: setting.value for word, setting in parts.items()}, place)
    except InvalidValueError as error:
        problems.append(f"{place}: parameters.{name}: {error}")
        return None


def _listed(name: str, values: Any) -> tuple[Any, ...]:
    if not isinstance(values, list) or len(values) < 2:
        raise InvalidValueError(f"values: {values!r} is no list of at least two values")
    tried = tuple(coerce(name, value) for value in values)
    if len(set(tried)) < len(tried):
        raise InvalidValueError(f"values: {values!r} names one twice")
    return tried


def _range(name: str, parts: dict[str, Any], place: str) -> SearchParameter:
    low, high = coerce(name, parts["min"]), coerce(name, parts["max"])
    step, log = parts.get("step"), parts.get("log", False)
    if not isinstance(low, (int, float)) or isinstance(low, bool):
        raise InvalidValueError("only numbers have a range; list its `values`")
    if low >= high:
        raise InvalidValueError(f"min {low} is not below max {high}")
    if not isinstance(log, bool):
        raise InvalidValueError(f"log: {log!r} is not true or false")
    if step is not None and (log or not isinstance(step, (int, float)) or step <= 0):
        raise InvalidValueError(f"step: {step!r} is no number above 0, or stands beside `log`")
    if log and low <= 0:
        raise InvalidValueError("a logarithmic range begins above 0")
    return SearchParameter(name, (), low, high, step, log, place)


def _variants(settings: Sequence[Setting], problems: list[str]) -> list[Variant]:
    found: dict[str, Variant] = {}
    for setting in settings:
        family, _, rest = setting.name.removeprefix(_FAMILIES).partition(".")
        name, _, key = rest.partition(".")
        written = found.setdefault(name, Variant(name, {}, family, setting.place))
        if not key:
            hint = "give each variation a name and the keys it changes: {NAME: {KEY: VALUE}}"
            problems.append(f"{setting.place}: families.{family}: {hint}")
        elif name == BASELINE or not name.replace("_", "").replace("-", "").isalnum():
            rule = f"a variation's name is letters, digits, '-', '_', and not {BASELINE}"
            problems.append(f"{setting.place}: {name!r}: {rule}")
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


def _crossed(settings: Sequence[Setting], variants: Sequence[Variant], problems: list[str]) -> tuple[str, ...]:
    if not settings:
        return ()
    names, (setting,) = [variant.name for variant in variants], settings[:1]
    listed = [str(name) for name in (setting.value if isinstance(setting.value, list) else [setting.value])]
    for name in listed:
        if name not in names:
            problems.append(f"{setting.place}: crossed: {name!r}: no such variation; {suggestion(name, names)}")
    if len(set(listed)) < 2:
        problems.append(f"{setting.place}: crossed: name at least two variations")
    return tuple(listed)
