"""The ablation path: from the baseline to another config, one change after the other, each kept for the next.

It shows which change brings what on the way, as in Fawcett and Hoos 2016, "Analysing differences between algorithm
configurations through ablation". Their path is greedy: each round races every change that is left and keeps the best
one, so that what is run next depends on results. A study is a fixed grid (its Experiment says beforehand what runs), so
the order is declared here. Another order may divide the same whole among the changes otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from receipt_counter.config.loading import PRESET_KEY, Resolved, resolve, resolve_onto
from receipt_counter.config.schema import Config, leaves
from receipt_counter.config.source import read_yaml
from receipt_counter.config.validation import DECLARATIONS, NO_EFFECT
from receipt_counter.errors import UserError, suggestion
from receipt_counter.study.ablation_file import AblationPath
from receipt_counter.study.variants import Step, Variant, changes_text, short_name

# Effects are paired over the study's own seeds and the same images; gates judge a model and do not change it.
_KEPT = ("seed", "data.path", "data.render", "gates")


def path_variants(path: AblationPath, resolved: Resolved) -> tuple[list[Variant], list[str]]:
    """The steps of a path.

    Args:
        path: of the study file.
        resolved: the baseline, and the preset for a target that names none.

    Returns:
        A variant for each step, with all changes up to it; and what a person should know.

    Raises:
        UserError: the target is wrong or no other config, or the order names something else than what differs.
    """
    target, written = _target(path, resolved)
    own, wanted = leaves(resolved.config), leaves(target)
    idle = [name for rule in NO_EFFECT if rule.applies(target) for name in rule.keys]
    ordered = dict.fromkeys((*written, *DECLARATIONS))
    changed = {key: wanted[key] for key in ordered if wanted[key] != own[key] and not _within(key, idle)}
    kept = [key for key in changed if _within(key, _KEPT)]
    differing = {key: value for key, value in changed.items() if key not in kept}
    if not differing:
        raise UserError(f"{path.place}: path.to: {_named(path)} does not differ from the baseline")
    same = (
        f"path: the baseline's {', '.join(kept)} {'is' if len(kept) == 1 else 'are'} kept, not those of {_named(path)}"
    )
    notes = [f"{same}: effects are paired over the same seeds and images"] if kept else []
    return _cumulated(path, _steps(path, differing), resolved.config), notes


def _target(path: AblationPath, resolved: Resolved) -> tuple[Config, list[str]]:
    """The config that the path leads to, and the keys that are written of it."""
    if isinstance(path.to, tuple):
        return resolve_onto(resolved.config, path.to), [setting.name for setting in path.to]
    if not path.to.exists():
        beside = [file.name for file in sorted(path.to.parent.glob("*.yaml"))]
        hint = suggestion(path.to.name, beside) if beside else "there is no YAML file there"
        raise UserError(f"{path.place}: path.to: {path.to}: no such config file; {hint}")
    try:
        written = read_yaml(path.to)
        named = any(setting.name == PRESET_KEY for setting in written)
        target = resolve(path.to, "auto" if named else resolved.preset).config
    except UserError as error:
        raise UserError(f"{path.place}: path.to: {error.message}") from None
    return target, [setting.name for setting in written if setting.name in DECLARATIONS]


def _named(path: AblationPath) -> str:
    return "the target" if isinstance(path.to, tuple) else str(path.to)


def _within(key: str, names: Sequence[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _steps(path: AblationPath, differing: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(what it is called, {key: value}) of each step: the declared ones, then every other key alone."""
    left, steps = dict(differing), []
    for names in path.order:
        for name in names:
            if not any(_within(key, [name]) for key in left):
                twice = any(_within(key, [name]) for key in differing)
                reason = (
                    "was made in a step before" if twice else f"is no key that differs; {suggestion(name, differing)}"
                )
                raise UserError(f"{path.place}: path.order: {name!r} {reason}")
        keys = [key for key in left if _within(key, names)]
        steps.append(("-and-".join(map(_last, names)), {key: left.pop(key) for key in keys}))
    return [*steps, *((_last(key), {key: value}) for key, value in left.items())]


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _cumulated(path: AblationPath, steps: Sequence[tuple[str, Mapping[str, Any]]], config: Config) -> list[Variant]:
    overrides: dict[str, Any] = {}
    found = []
    for number, (label, changes) in enumerate(steps, 1):
        overrides = {**overrides, **changes}
        text = changes_text(changes)
        variant = Variant(short_name(f"path.{number}.{label}"), overrides, "", path.place, step=Step(number, text))
        try:
            variant.apply(config)
        except UserError as error:
            raise UserError(
                f"{error.message}\n{path.place}: path.order: step {number} ({text}) cannot follow the ones before it;"
                " give another order, or let keys that belong together make one step: [[KEY, KEY], ...]"
            ) from None
        found.append(variant)
    return found
