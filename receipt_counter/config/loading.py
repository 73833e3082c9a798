"""Resolving a config: defaults < preset < keys the user's file changes < --set, with where each value came from."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from receipt_counter.config.schema import Config, leaves
from receipt_counter.config.source import Setting, read_override, read_yaml
from receipt_counter.config.validation import (
    DECLARATIONS,
    GROUPS,
    NO_EFFECT,
    InvalidValueError,
    coerce,
    conflicts,
    warnings,
)
from receipt_counter.config.weights import find_weights
from receipt_counter.errors import UserError, nearest, suggestion
from receipt_counter.storage.remote import is_url

PRESETS_DIRECTORY = Path(str(resources.files("receipt_counter.config") / "presets"))
PRESET_KEY = "preset"  # in a config file: the preset its values are meant to change
DEFAULT_LAYER, PRESET_LAYER, FILE_LAYER, SET_LAYER = range(4)


@dataclass(frozen=True)
class Resolved:
    """A config and the story of its values.

    Args:
        config: the validated tree.
        origins: {dotted key: "default", "preset laptop", "file.yaml:12" or "--set"}.
        preset: the preset taken, never "auto".
        notes: lines to show the user first: the preset and why, then warnings.
    """

    config: Config
    origins: dict[str, str]
    preset: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Value:
    value: Any
    layer: int
    place: str


def preset_names() -> list[str]:
    """The presets there are, without `auto`."""
    return sorted(path.stem for path in PRESETS_DIRECTORY.glob("*.yaml"))


def resolve(
    config_file: Path | None = None,
    preset: str = "auto",
    overrides: Sequence[str] = (),
    *,
    seed: int | None = None,
    data: Path | str | None = None,
    small: str = "laptop",
) -> Resolved:
    """Put a config together.

    Args:
        config_file: the user's YAML file, if any.
        preset: a preset's name, or "auto": `full` where a GPU and the weights are, else the small one.
        overrides: "KEY=VALUE" texts, later ones win.
        seed: same as overriding `seed`.
        data: same as overriding `data.path` (made absolute, unless it is a URL).
        small: the preset that "auto" takes without a GPU or the weights; "full" where neither matters.

    Returns:
        The resolved config.

    Raises:
        UserError: everything that is wrong, together.
    """
    named, written = _split_preset(read_yaml(config_file)) if config_file else (None, [])
    name, reason = _choose_preset(preset, named, small)
    problems: list[str] = []
    values = {key: _Value(value, DEFAULT_LAYER, "default") for key, value in leaves(Config()).items()}
    _apply(values, _preset_settings(name), PRESET_LAYER, problems)
    held_back = _apply_file(values, written, problems, whole=named is not None)
    settings = _read_overrides(overrides, problems)
    settings += [Setting("seed", seed, "--seed")] if seed is not None else []
    if data is not None:
        place = str(data) if is_url(str(data)) else str(Path(data).resolve())
        settings.append(Setting("data.path", place, "--data"))
    _apply(values, settings, SET_LAYER, problems)
    config = build({key: entry.value for key, entry in values.items()})
    problems += [f"{_place(values, key)}{key}: {text}" for key, text in conflicts(config)]
    problems += _without_effect(config, values)
    if problems:
        raise UserError("\n".join(problems))
    notes = [f"preset {name}: {reason}"]
    if held_back:
        shown = ", ".join(held_back[:3]) + (", ..." if len(held_back) > 3 else "")
        notes.append(
            f"preset {name} replaces {len(held_back)} values that {config_file} leaves at their defaults"
            f" ({shown}); `config show` lists them, --set overrides"
        )
    notes += [f"warning: {text}" for text in warnings(config)]
    return Resolved(config, {key: entry.place for key, entry in values.items()}, name, tuple(notes))


def _split_preset(settings: Sequence[Setting]) -> tuple[Setting | None, list[Setting]]:
    """The preset that a file names, and its other settings."""
    named = next((setting for setting in settings if setting.name == PRESET_KEY), None)
    return named, [setting for setting in settings if setting.name != PRESET_KEY]


def _preset_settings(name: str) -> list[Setting]:
    """What a preset changes; a preset may name another one that it changes further."""
    base, own = _split_preset(read_yaml(PRESETS_DIRECTORY / f"{name}.yaml"))
    inherited = _preset_settings(str(base.value)) if base else []
    last = {setting.name: dataclasses.replace(setting, place=f"preset {name}") for setting in (*inherited, *own)}
    defaults = leaves(Config())
    return [setting for setting in last.values() if not _is_default(setting, defaults)]


def resolve_onto(config: Config, settings: Iterable[Setting]) -> Config:
    """Override keys of a resolved config.

    Args:
        config: left as it is.
        settings: what to override; later ones win.

    Raises:
        UserError: everything that is wrong, together; a key that has no effect in the result too.
    """
    values = {key: _Value(value, PRESET_LAYER, "") for key, value in leaves(config).items()}
    problems: list[str] = []
    _apply(values, settings, SET_LAYER, problems)
    changed: Config = build({key: entry.value for key, entry in values.items()})
    problems += [f"{_place(values, key)}{key}: {text}" for key, text in conflicts(changed)]
    problems += _without_effect(changed, values)
    if problems:
        raise UserError("\n".join(problems))
    return changed


def _choose_preset(preset: str, named: Setting | None, small: str) -> tuple[str, str]:
    names = preset_names()
    if named is not None and named.value not in (*names, "auto"):
        hint = suggestion(str(named.value), [*names, "auto"])
        raise UserError(f"{named.place}: {PRESET_KEY}: {named.value!r}: no such preset; {hint}")
    if preset in names:
        return preset, "as asked"
    if preset != "auto":
        raise UserError(f"--preset {preset}: no such preset; {suggestion(preset, [*names, 'auto'])}")
    if named is not None and named.value != "auto":
        return str(named.value), f"named at {named.place}"
    if small == "full":
        return small, "it runs on a cluster"  # what this machine has does not matter
    checkpoint = next(str(s.value) for s in read_yaml(PRESETS_DIRECTORY / "full.yaml") if s.name == "model.checkpoint")
    if find_weights(checkpoint) is None:
        return small, f"the weights of {checkpoint} are not on this machine"
    import torch  # only now: importing it takes seconds

    if not torch.cuda.is_available():
        return small, "there is no GPU here"
    return "full", f"a GPU and the weights of {checkpoint} are here"


def _read_overrides(overrides: Sequence[str], problems: list[str]) -> list[Setting]:
    settings = []
    for text in overrides:
        try:
            settings.append(read_override(text))
        except UserError as error:
            problems.append(error.message)
    return settings


def _apply_file(
    values: dict[str, _Value], settings: Sequence[Setting], problems: list[str], *, whole: bool
) -> list[str]:
    """Apply the keys that the file changes; return those it leaves at defaults that the preset replaces.

    A file that names its preset was written with it in mind: its values hold, defaults or not (`whole`).
    """
    defaults, held_back, changes, seen = leaves(Config()), [], [], dict[str, str]()
    for setting in settings:
        if setting.name in seen:
            problems.append(f"{setting.place}: {setting.name} is written twice (first at {seen[setting.name]})")
        seen[setting.name] = setting.place
        if not whole and _is_default(setting, defaults):
            if values[setting.name].layer == PRESET_LAYER:
                held_back.append(setting.name)
        else:
            changes.append(setting)
    _apply(values, changes, FILE_LAYER, problems)
    return held_back


def _is_default(setting: Setting, defaults: dict[str, Any]) -> bool:
    if setting.name not in defaults:
        return False
    try:
        return bool(coerce(setting.name, setting.value) == defaults[setting.name])
    except InvalidValueError:
        return False


def _apply(values: dict[str, _Value], settings: Iterable[Setting], layer: int, problems: list[str]) -> None:
    for setting in settings:
        if setting.name not in DECLARATIONS:
            problems.append(f"{setting.place}: {unknown_key(setting)}")
            continue
        try:
            values[setting.name] = _Value(coerce(setting.name, setting.value), layer, setting.place)
        except InvalidValueError as error:
            problems.append(f"{setting.place}: {setting.name}: {error}")


def unknown_key(setting: Setting) -> str:
    """Say that a setting is no key of the config, and which key may be meant."""
    name = setting.name
    if name in GROUPS:
        members = [key for key in DECLARATIONS if key.startswith(f"{name}.")]
        if setting.is_group:
            return f"{name}: an empty group; leave it out or set one of {', '.join(members[:3])}, ..."
        return f"{name}: a group, not a value; set one of {', '.join(members)}"
    parent = next((name[:i] for i, c in enumerate(name) if c == "." and name[:i] in DECLARATIONS), None)
    if parent:
        return f"{name}: unknown key: {parent} is a value, not a group"
    group, _, leaf = name.rpartition(".")
    siblings = [key for key in DECLARATIONS if key.rpartition(".")[0] == group]
    near_sibling = nearest(leaf, (key.rpartition(".")[2] for key in siblings))
    homes = [key for key in DECLARATIONS if key.rpartition(".")[2] == leaf]
    guess = (
        f"{group}.{near_sibling}".lstrip(".")
        if near_sibling
        # dotted names share long prefixes, so only a high ratio means a misspelt group
        else nearest(name, DECLARATIONS, cutoff=0.85) or nearest(name, homes, cutoff=0.0)
    )
    hint = f"did you mean {guess}?" if guess else "`receipt-counter config show` lists all keys"
    return f"{name}: unknown key; {hint}"


def _without_effect(config: Config, values: dict[str, _Value]) -> list[str]:
    """Keys the user set that do nothing, unless a stronger layer is what made them so."""
    problems = []
    for rule in NO_EFFECT:
        if not rule.applies(config):
            continue
        cause = values[rule.because]
        for key, entry in values.items():
            covered = any(key == name or key.startswith(f"{name}.") for name in rule.keys)
            if covered and entry.layer >= FILE_LAYER and entry.layer >= cause.layer:
                shown = f"{rule.because} is {to_plain(cause.value)}"
                problems.append(f"{entry.place}: {key}: has no effect while {shown}: {rule.reason}")
    return problems


def _place(values: dict[str, _Value], name: str) -> str:
    """Where the strongest value of a key or group was written, as a prefix of a message."""
    entries = [entry for key, entry in values.items() if key == name or key.startswith(f"{name}.")]
    strongest = max(entries, key=lambda entry: entry.layer)
    return "" if strongest.layer == DEFAULT_LAYER else f"{strongest.place}: "


def build(values: dict[str, Any], cls: type[Any] = Config, prefix: str = "") -> Any:
    """A config tree from {dotted key: value}; keys that are absent keep their defaults."""
    template = cls()
    arguments: dict[str, Any] = {}
    for item in dataclasses.fields(cls):
        name = f"{prefix}.{item.name}" if prefix else item.name
        default = getattr(template, item.name)
        if dataclasses.is_dataclass(default):
            arguments[item.name] = build({**leaves(default, name), **values}, type(default), name)
        elif name in values:
            arguments[item.name] = values[name]
    return cls(**arguments)


def to_plain(value: Any) -> Any:
    """A value as YAML and JSON know it: tuples become lists, dataclasses dictionaries."""
    if dataclasses.is_dataclass(value):
        return {item.name: to_plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    return list(value) if isinstance(value, tuple) else value


def to_yaml(tree: Any) -> str:
    """A config, or another tree of settings, as YAML text; `from_yaml` gives the equal config back."""
    text: str = yaml.safe_dump(to_plain(tree), sort_keys=False, allow_unicode=True)
    return text


def parse_config(text: str) -> Config:
    """The config in a text that `to_yaml` wrote, as pipeline steps and ConfigMaps hand it on."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return from_yaml(path)


def from_yaml(path: Path) -> Config:
    """Read a config that `to_yaml` wrote (a run's config.yaml).

    Raises:
        UserError: it does not fit this version's keys.
    """
    problems: list[str] = []
    values = {key: _Value(value, DEFAULT_LAYER, "default") for key, value in leaves(Config()).items()}
    _apply(values, read_yaml(path), FILE_LAYER, problems)
    if problems:
        raise UserError("\n".join(problems))
    config: Config = build({key: entry.value for key, entry in values.items()})
    return config
