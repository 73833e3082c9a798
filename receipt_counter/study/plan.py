"""A study before it runs: its trials, what each changes, what is pointless about it, and what it will cost."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
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
from receipt_counter.study.ablation_file import read_ablation
from receipt_counter.study.compile import ablation_document, search_document
from receipt_counter.study.designs import design_notes, design_variants
from receipt_counter.study.estimate import Estimate, estimate
from receipt_counter.study.path import path_variants
from receipt_counter.study.search_file import read_search
from receipt_counter.study.settings import SearchParameter, StudySettings
from receipt_counter.study.variants import Variant, same_config


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
    notes += _notes_on_machines(resolved.config)
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
    seeds = len(file.settings.seeds)
    designed = design_variants(file.design, file.variants, seeds, file.design_place)
    steps, path_notes = path_variants(file.path, resolved) if file.path else ([], [])
    kept, configs, notes = _apply([*designed, *steps], resolved.config)
    cells = {name: variant.levels for name, variant in kept.items() if variant.levels}
    document = ablation_document(file.settings, list(kept.values()), resolved.config, resolved.preset)
    _refuse(path, check(document))
    runs = [config for config in configs.values() for _ in range(seeds)]
    return Plan(
        "ablation",
        file.settings,
        document,
        tuple((variant.name, variant.changes() or "nothing") for variant in kept.values()),
        len(runs),
        len(runs),
        (*notes, *design_notes(cells), *path_notes, *_notes_on_machines(resolved.config)),
        estimate(runs, file.settings.parallelism, store, train_images),
    )


def _notes_on_machines(config: Config) -> list[str]:
    nodes = config.cluster.nodes
    if nodes == 1:
        return []
    return [
        f"on a cluster each trial is a TrainJob on {nodes} machines; by an open defect of Katib 0.19"
        " (kubeflow/katib#2616) its metrics sidecar may run on after the training, and the trial with it: where that"
        " happens, plan with cluster.nodes=1"
    ]


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
    problems, found = _about_the_cluster((parameter.key, parameter.place) for parameter in parameters), []
    for parameter in parameters:
        for value in parameter.probes():
            try:
                found.append(resolve_onto(config, [Setting(parameter.key, value, parameter.place)]))
            except UserError as error:
                problems.append(error.message)
    if problems:
        raise UserError("\n".join(dict.fromkeys(problems)))
    return found


def _apply(variants: Sequence[Variant], config: Config) -> tuple[dict[str, Variant], dict[str, Config], list[str]]:
    """Each variant with its config; one that equals an earlier one gives it its place in the design and is left out.

    Raises:
        UserError: everything that is wrong with the variants' overrides.
    """
    problems = _about_the_cluster((key, variant.place) for variant in variants for key in variant.overrides)
    notes: list[str] = []
    kept: dict[str, Variant] = {}
    configs: dict[str, Config] = {}
    usual = set(warnings(config))
    for variant in variants:
        try:
            changed = variant.apply(config)
        except UserError as error:
            problems.append(error.message)
            continue
        twin = same_config(changed, configs)
        if twin is None:
            notes += [f"{variant.name}: {text}" for text in warnings(changed) if text not in usual]
            kept[variant.name], configs[variant.name] = variant, changed
            continue
        known = kept[twin]
        if known.levels and variant.levels and variant.family:
            problems.append(f"{variant.place}: design: {variant.name} is the same as {twin}: it is no factor here")
        if variant.name != twin:
            notes.append(f"{variant.name} is left out: it is the same as {twin} ({variant.changes()})")
        kept[twin] = dataclasses.replace(known, levels=known.levels or variant.levels, step=known.step or variant.step)
    if problems:
        raise UserError("\n".join(problems))
    return kept, configs, notes


def _about_the_cluster(keys: Iterable[tuple[str, str]]) -> list[str]:
    """What is wrong with keys (and their places) that say where a trial runs, and nothing about what it trains."""
    return [
        f"{place}: {key}: has no effect in a study: all its trials run in the same way; set it in the config"
        for key, place in keys
        if key.startswith("cluster.")
    ]


def _space(parameter: SearchParameter) -> str:
    if parameter.values:
        return ", ".join(str(value) for value in parameter.values)
    scale = " on a logarithmic scale" if parameter.log else f" in steps of {parameter.step}" if parameter.step else ""
    return f"{parameter.low} to {parameter.high}{scale}"
