"""A study before it runs: its trials, what each changes, what is pointless about it, and what it will cost."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from receipt_counter.config.loading import Resolved, resolve_onto
from receipt_counter.config.schema import Config
from receipt_counter.config.source import Setting
from receipt_counter.config.validation import warnings
from receipt_counter.errors import UserError
from receipt_counter.katib.experiment import StudyDocument, check
from receipt_counter.katib.space import combinations, search_space
from receipt_counter.storage.store import Store
from receipt_counter.study.compile import ablation_document, search_document
from receipt_counter.study.estimate import Estimate, estimate
from receipt_counter.study.files import AblationFile, read_ablation, read_search
from receipt_counter.study.settings import SearchParameter, StudySettings
from receipt_counter.study.variants import BASELINE, Variant, same_config


@dataclass(frozen=True)
class Plan:
    """A planned study.

    Attributes:
        kind: "hyperparameter" or "ablation".
        settings: of the study file.
        document: the Experiment.
        changes: (what, how) of each thing that is tried: a variant and its overrides, or a parameter and its values.
        trials: how many.
        runs: how many runs these are.
        notes: what the user should know: values without effect, what a full grid would be.
        cost: None when no past run tells.
    """

    kind: str
    settings: StudySettings
    document: StudyDocument
    changes: tuple[tuple[str, str], ...]
    trials: int
    runs: int
    notes: tuple[str, ...] = field(default=())
    cost: Estimate | None = None


def plan_search(path: Path, resolved: Resolved, store: Store, train_images: int | None = None) -> Plan:
    """Plan a hyperparameter study.

    Args:
        path: the study file.
        resolved: the config every variant changes.
        store: past runs there tell what it costs.
        train_images: size of the user's own train split; None when pictures are rendered.

    Raises:
        UserError: everything that is wrong with it.
    """
    file = read_search(path, resolved.preset)
    _refuse(path, _confirmation_problems(file.settings))
    probes = _probe_search(file.parameters, resolved.config)
    document = search_document(file, resolved.config, resolved.preset)
    _refuse(path, check(document))
    seeds = len(file.settings.seeds)
    notes = []
    if all(parameter.values or parameter.step for parameter in file.parameters):
        variants = combinations(search_space(document.experiment))
        notes.append(f"a full grid would be {variants:,} variants x {seeds} seeds")
    runs = file.settings.budget.trials * seeds
    typical = list(itertools.islice(itertools.cycle(probes), runs))
    cost = estimate(typical, file.settings.parallelism, store, train_images)
    return Plan(
        "hyperparameter",
        file.settings,
        document,
        tuple((parameter.key, _space(parameter)) for parameter in file.parameters),
        file.settings.budget.trials,
        runs,
        tuple(notes),
        cost,
    )


def plan_ablation(path: Path, resolved: Resolved, store: Store, train_images: int | None = None) -> Plan:
    """Plan an ablation study; arguments and errors as for `plan_search`."""
    file = read_ablation(path, resolved.preset)
    variants = [Variant(BASELINE, {}), *file.variants, *_crossed(file)]
    configs, notes = _apply(variants, resolved.config)
    kept = [variant for variant in variants if variant.name in configs]
    document = ablation_document(file.settings, kept, resolved.config, resolved.preset)
    _refuse(path, check(document))
    seeds = len(file.settings.seeds)
    runs = [config for config in configs.values() for _ in range(seeds)]
    return Plan(
        "ablation",
        file.settings,
        document,
        tuple((variant.name, variant.changes() or "nothing") for variant in kept),
        len(runs),
        len(runs),
        tuple(notes),
        estimate(runs, file.settings.parallelism, store, train_images),
    )


def _confirmation_problems(settings: StudySettings) -> list[str]:
    used = sorted(set(settings.seeds) & set(settings.confirmation_seeds))
    if used:
        return [f"confirmation_seeds: {', '.join(map(str, used))}: also in seeds; only other seeds confirm anything"]
    return [] if settings.confirmation_seeds else ["confirmation_seeds: []: at least one"]


def _refuse(path: Path, problems: Sequence[str]) -> None:
    if problems:
        raise UserError("\n".join(f"{path}: {problem}" for problem in problems))


def _probe_search(parameters: Sequence[SearchParameter], config: Config) -> list[Config]:
    """Try every value on its own, so that one that the config refuses is found before anything runs."""
    problems, found = [], []
    for parameter in parameters:
        for value in parameter.probes():
            try:
                found.append(resolve_onto(config, [Setting(parameter.key, value, parameter.place)]))
            except UserError as error:
                problems.append(error.message)
    if problems:
        raise UserError("\n".join(dict.fromkeys(problems)))
    return found


def _crossed(file: AblationFile) -> list[Variant]:
    """All combinations of two and more of the crossed variations."""
    by_name = {variant.name: variant for variant in file.variants}
    found = []
    for size in range(2, len(file.crossed) + 1):
        for names in itertools.combinations(file.crossed, size):
            parts = [by_name[name] for name in names]
            overrides = {key: value for part in parts for key, value in part.overrides.items()}
            found.append(Variant(".".join(names), overrides, "crossed", parts[0].place))
    return found


def _apply(variants: Sequence[Variant], config: Config) -> tuple[dict[str, Config], list[str]]:
    """Each variant's config; one that equals an earlier one is left out, and said.

    Raises:
        UserError: everything that is wrong with the variants' overrides.
    """
    problems: list[str] = []
    notes: list[str] = []
    configs: dict[str, Config] = {}
    for variant in variants:
        try:
            changed = variant.apply(config)
        except UserError as error:
            problems.append(error.message)
            continue
        twin = same_config(changed, configs)
        if twin is not None:
            notes.append(f"{variant.name} is left out: it is the same as {twin} ({variant.changes()})")
            continue
        before = set(warnings(config))
        notes += [f"{variant.name}: {text}" for text in warnings(changed) if text not in before]
        configs[variant.name] = changed
    if problems:
        raise UserError("\n".join(problems))
    return configs, notes


def _space(parameter: SearchParameter) -> str:
    if parameter.values:
        return ", ".join(str(value) for value in parameter.values)
    scale = " on a logarithmic scale" if parameter.log else f" in steps of {parameter.step}" if parameter.step else ""
    return f"{parameter.low} to {parameter.high}{scale}"
