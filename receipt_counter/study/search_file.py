"""Reading a hyperparameter study: `config/hyperparameter_config.yaml`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receipt_counter.config.loading import unknown_key
from receipt_counter.config.source import Setting
from receipt_counter.config.validation import DECLARATIONS, InvalidValueError, coerce
from receipt_counter.errors import suggestion
from receipt_counter.study.files import Grouped, read_study
from receipt_counter.study.settings import SearchParameter, StudySettings

_RANGE = ("values", "min", "max", "step", "log")


@dataclass(frozen=True)
class SearchFile:
    """A hyperparameter study."""

    settings: StudySettings
    parameters: tuple[SearchParameter, ...]


def read_search(path: Path, preset: str) -> SearchFile:
    """Read a hyperparameter study.

    Args:
        path: the file.
        preset: the preset whose section counts.

    Raises:
        UserError: everything that is wrong with it, together.
    """

    def read_parts(grouped: Grouped, problems: list[str]) -> tuple[SearchParameter, ...]:
        parameters = _parameters(grouped["parameters"], problems)
        if not parameters and not problems:
            problems.append(f"{path}: no parameters: there is nothing to search")
        return tuple(parameters)

    return SearchFile(*read_study(path, preset, {"parameters": _key}, read_parts))


def _key(name: str) -> str:
    """The parameter that "KEY.values", "KEY.min", ... belong to."""
    head, _, tail = name.rpartition(".")
    return head if tail in _RANGE else name


def _parameters(settings: Sequence[Setting], problems: list[str]) -> list[SearchParameter]:
    grouped: dict[str, dict[str, Setting]] = {}
    for setting in settings:
        name, _, word = setting.name.rpartition(".")
        if word not in _RANGE and name in DECLARATIONS:
            problems.append(f"{setting.place}: parameters.{name}: {word}: unknown key; {suggestion(word, _RANGE)}")
        elif word not in _RANGE:
            key = setting.name or "KEY"
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
    if step is not None and log:
        raise InvalidValueError(f"step: {step!r} stands beside `log`: a logarithmic range has no steps")
    if step is not None and (not isinstance(step, (int, float)) or isinstance(step, bool) or step <= 0):
        raise InvalidValueError(f"step: {step!r} is not a number above 0")
    if log and low <= 0:
        raise InvalidValueError("a logarithmic range begins above 0")
    return SearchParameter(name, (), low, high, step, log, place)
