"""The frame of a study file: the settings every study has, the parts of its kind, and what they are at a preset's size.

A section `presets.NAME` holds what the study is at that preset's size: it replaces settings one by one, and each item
of a part (a parameter, a family of variations, the design, the path) that it names as a whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from receipt_counter.config.loading import build, preset_names
from receipt_counter.config.schema import leaves
from receipt_counter.config.source import Setting, read_yaml
from receipt_counter.config.validation import InvalidValueError, coerce, declarations
from receipt_counter.errors import UserError, suggestion
from receipt_counter.study.settings import StudySettings

T = TypeVar("T")
Parts = Mapping[str, Callable[[str], str]]
Grouped = Mapping[str, Sequence[Setting]]

_PRESETS = "presets"


def read_study(
    path: Path,
    preset: str,
    parts: Parts,
    read_parts: Callable[[Grouped, list[str]], T],
    idle: Mapping[str, str] = MappingProxyType({}),
) -> tuple[StudySettings, T]:
    """Read a study file.

    Args:
        path: the file.
        preset: the preset whose section counts.
        parts: {top-level key beside the settings: (dotted name below it -> the item that a section replaces whole)}.
        read_parts: takes {part: what is written below it} and the list to which it adds what is wrong.
        idle: {setting or group of them: why it has no effect in this kind of study}.

    Returns:
        The settings, and what `read_parts` made of the parts.

    Raises:
        UserError: everything that is wrong with the file, together.
    """
    problems: list[str] = []
    grouped: dict[str, list[Setting]] = {part: [] for part in parts}
    others = []
    for setting in _sections(path, preset, parts, problems):
        part, _, rest = setting.name.partition(".")
        if part in parts:
            grouped[part].append(dataclasses.replace(setting, name=rest))
        else:
            others.append(setting)
    settings = read_values(others, StudySettings, problems, more=(*parts, _PRESETS))
    problems += [
        f"{setting.place}: {setting.name}: has no effect: {reason}"
        for setting in others
        for name, reason in idle.items()
        if setting.name == name or setting.name.startswith(f"{name}.")
    ]
    place = {setting.name: f"{setting.place}: " for setting in others}.get("seeds", "")
    if not settings.seeds or len(set(settings.seeds)) < len(settings.seeds):
        problems.append(f"{place}seeds: {list(settings.seeds)}: at least one, each once")
    found = read_parts(grouped, problems)
    if problems:
        raise UserError("\n".join(problems))
    return settings, found


def read_values(
    settings: Iterable[Setting], cls: type[T], problems: list[str], part: str = "", more: Sequence[str] = ()
) -> T:
    """Read a group of keys that is declared as a dataclass.

    Args:
        settings: with names below the group.
        cls: declares the keys, their defaults and what they accept.
        problems: takes what is wrong.
        part: the group's own name, for messages.
        more: further names that are valid beside these keys.
    """
    declared = {name: (hint, item) for name, hint, item in declarations(cls)}
    values: dict[str, Any] = leaves(cls())
    for setting in settings:
        shown = f"{part}.{setting.name}".strip(".")
        if setting.name not in declared:
            problems.append(f"{setting.place}: {shown}: {_unknown(setting, [*declared, *more], part)}")
            continue
        try:
            values[setting.name] = coerce(setting.name, setting.value, declared)
        except InvalidValueError as error:
            problems.append(f"{setting.place}: {shown}: {error}")
    found: T = build(values, cls)
    return found


def _unknown(setting: Setting, valid: Sequence[str], part: str) -> str:
    members = valid if not setting.name else [name for name in valid if name.startswith(f"{setting.name}.")]
    if members:
        group = setting.name or part
        return f"{setting.value!r} is no group of keys; write it as {group}: {{{members[0].split('.')[-1]}: ...}}"
    return f"unknown key; {suggestion(setting.name, valid)}"


def _sections(path: Path, preset: str, parts: Parts, problems: list[str]) -> list[Setting]:
    """The settings that count: the file's own, with the preset's section over them."""
    written = read_yaml(path, "study file")
    own: list[Setting] = []
    section: list[Setting] = []
    seen: dict[str, str] = {}
    for setting in written:
        if setting.name in seen:
            problems.append(f"{setting.place}: {setting.name} is written twice (first at {seen[setting.name]})")
        seen[setting.name] = setting.place
        head, _, below = setting.name.partition(".")
        if head != _PRESETS:
            own.append(setting)
            continue
        name, _, rest = below.partition(".")
        if name not in preset_names():
            problems.append(f"{setting.place}: presets.{name}: no such preset; {suggestion(name, preset_names())}")
        elif name == preset:
            section.append(dataclasses.replace(setting, name=rest))
    replaced = {_item(setting.name, parts) for setting in section}
    dropped = [setting for setting in section if setting.value is None and setting.name in parts]
    return [s for s in own if _item(s.name, parts) not in replaced] + [s for s in section if s not in dropped]


def _item(name: str, parts: Parts) -> tuple[str, str]:
    """What a setting belongs to: an item of a part, or itself."""
    part, _, rest = name.partition(".")
    return (part, parts[part](rest)) if part in parts else (name, "")
