"""What workers do for studies: read their plan, analyse them, draw their figures. Imports what is slow to import."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from receipt_counter.config.loading import to_plain
from receipt_counter.config.schema import Config, leaves
from receipt_counter.errors import UserError
from receipt_counter.monitor.reading import UnreadableError, clean, mapping, number, read_inside, read_json_inside
from receipt_counter.monitor.run_record import config_signature, refuse_aliases
from receipt_counter.monitor.study_entry import read_table
from receipt_counter.storage.files import write_atomic
from receipt_counter.storage.store import Store

_ANALYSIS_LIMIT = 64 << 20
_PAIRS_OF = 3  # metrics; as in the report


def read_plan(root: Path, study: Path) -> dict[str, Any]:
    """What a study is to do.

    Args:
        root: the folder that nothing is read from outside of.
        study: its directory, with an experiment.yaml.

    Returns:
        Plain JSON: `kind`, `name`, `algorithm`, `objective`, `goal`, `minimise`, `priority`, `seeds`, `split`,
        `max_trials`, `parallel_trials`, `parameters`, `variants` with the `signature` of each one's config, `base`,
        the flat config that is varied, and `problem`, what cannot be told of it and why; of a study of somebody else's
        what can be told.

    Raises:
        UserError, UnreadableError: its file is broken.
    """
    from receipt_counter.katib.experiment import read_document
    from receipt_counter.katib.space import search_space
    from receipt_counter.study.trial_job import CONFIG_FILE

    _check_experiment(root, study)
    document = read_document(study / "experiment.yaml")
    spec, name, space = document.experiment.spec, document.experiment.metadata.name, search_space(document.experiment)
    objective = spec.objective
    plan = {
        "kind": "hyperparameter" if space else "unknown",  # what Katib's Experiments are, unless ours say otherwise
        "name": name,
        "algorithm": spec.algorithm.algorithm_name if spec.algorithm else None,
        "objective": objective.objective_metric_name if objective else None,
        "goal": objective.goal if objective else None,
        "minimise": objective.type == "minimize" if objective else False,
        "priority": [objective.objective_metric_name, *(objective.additional_metric_names or [])] if objective else [],
        "seeds": [],
        "split": None,
        "max_trials": spec.max_trial_count,
        "parallel_trials": spec.parallel_trial_count,
        "parameters": [
            {"name": p.name, "type": str(p.kind), "values": list(p.values), "low": _text(p.low), "high": _text(p.high)}
            for p in space
        ],
        "variants": [],
        "base": {},
        "problem": None,
    }
    if any(CONFIG_FILE in files for files in document.config_maps.values()):  # `plan` wrote it
        plan |= _own_plan(document, {p.name: p.values for p in space})
    return dict(clean(plan))


def _check_experiment(root: Path, study: Path) -> None:
    """Refuse what is no regular file of the folder, a giant, or made of YAML aliases that multiply without end.

    Raises:
        UnreadableError: it is one of these.
    """
    refuse_aliases("experiment.yaml", read_inside(root, study / "experiment.yaml"))


def _own_plan(document: Any, axes: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What `plan` says beside Katib; of one that another version wrote as much as this one understands."""
    from receipt_counter.study.compile import SETTINGS_FILE, SPLIT_ANNOTATION, VARIANTS_FILE
    from receipt_counter.study.documents import base_config, study_files
    from receipt_counter.study.variants import read_variants

    files = study_files(document)
    for name, content in files.items():
        refuse_aliases(name, content.encode())
    ablation = VARIANTS_FILE in files
    seeds = axes.get("seed", ()) if ablation else _seeds(files.get(SETTINGS_FILE, ""))
    plan: dict[str, Any] = {
        "kind": "ablation" if ablation else "hyperparameter",
        "split": (document.experiment.metadata.annotations or {}).get(SPLIT_ANNOTATION),
        "seeds": [int(seed) for seed in seeds],
    }
    try:
        base = base_config(files)
        read = read_variants(files[VARIANTS_FILE], VARIANTS_FILE).values() if ablation else ()
        variants = [(variant, config_signature(_flat(variant.apply(base)))) for variant in read]
    except UserError as error:
        return {**plan, "problem": error.message}
    named = [{"name": v.name, "family": v.family, "changes": v.changes(), "signature": found} for v, found in variants]
    return {**plan, "base": _flat(base), "variants": named}


def _seeds(settings: str) -> list[Any]:
    """Of a search's study.yaml, of which another version may have written the rest."""
    try:
        found = mapping(yaml.safe_load(settings)).get("seeds")
    except yaml.YAMLError:
        return []
    return [seed for seed in found if isinstance(seed, int)] if isinstance(found, list) else []


def _flat(config: Config) -> dict[str, Any]:
    return dict(sorted((name, to_plain(value)) for name, value in leaves(config).items()))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def analyse_study(root: Path, study: Path, output: Path) -> str:
    """Write what a study has found and its figures to a file of the cache.

    Args:
        root: the folder of experiments, which is not written to.
        study: the study's directory.
        output: JSON: `state`, `problem`, `analysis`, `figures`.

    Returns:
        The state: "final" where analysis.json has the last word, "live" where the trials so far were analysed, or
        "unavailable".
    """
    analysis, problem = _final_analysis(root, study), None
    state, figures = "final", dict[str, Any]()
    try:
        if analysis is None:
            state = "live"
            analysis = _live_analysis(root, study)
        for name, drawn in _figures(analysis, root / "runs"):
            if drawn.data:
                figures[name] = drawn.to_plotly_json()
    except Exception as error:  # of files that anybody may have written, whatever it is
        explained = isinstance(error, (UserError, UnreadableError))
        what = str(error) if explained else f"{type(error).__name__}: {error}"
        if analysis is not None:
            problem = f"Not all figures can be drawn: {what}. `receipt-counter compare` analyses the study anew."
        else:
            state, problem = "unavailable", what if explained else f"it cannot be analysed: {what}"
    write_atomic(output, _json({"state": state, "problem": problem, "analysis": analysis, "figures": figures}))
    return state


def _live_analysis(root: Path, study: Path) -> dict[str, Any]:
    """What the trials so far say.

    Raises:
        UserError, UnreadableError: nothing yet, or a file of the study is broken.
    """
    from receipt_counter.study.compare import analyse

    _check_experiment(root, study)
    if (study / "trials.csv").exists():
        read_inside(root, study / "trials.csv", _ANALYSIS_LIMIT)
    found = analyse(study, Store(root), lambda config: _fingerprint(root, study)).analysis
    return dict(clean(found))


def _json(content: Mapping[str, Any]) -> str:
    from plotly.io.json import to_json_plotly

    return str(to_json_plotly(content))  # nan becomes null, arrays become lists


def _final_analysis(root: Path, study: Path) -> dict[str, Any] | None:
    """The content of analysis.json; None if there is none, or if trials ended since it was written."""
    file, table = study / "analysis.json", study / "trials.csv"
    try:
        analysis = read_json_inside(root, file, _ANALYSIS_LIMIT)
        if not isinstance(analysis, dict) or analysis.get("kind") not in ("ablation", "hyperparameter"):
            return None
        # times of change tell nothing of files that were copied, or came from a store one after the other
        counted = sum(filter(None, map(number, mapping(mapping(analysis.get("failures")).get("counts")).values())))
        ended = len(read_table(root, table))
        is_older = ended > counted if counted else ended and table.stat().st_mtime_ns > file.stat().st_mtime_ns
    except (UnreadableError, OSError):
        return None
    return None if is_older else analysis


def _fingerprint(root: Path, study: Path) -> str:
    """Of the study's dataset, as its runs recorded it: the dataset itself need not be here."""
    for file in (root / "runs").glob("*/run.json"):
        try:
            lineage = mapping(mapping(read_json_inside(root, file)).get("lineage"))
        except (UnreadableError, OSError):
            continue
        if lineage.get("study") == study.name and lineage.get("data_fingerprint"):
            return str(lineage["data_fingerprint"])
    raise UserError(f"{study.name}: none of its runs has begun yet")


def _figures(analysis: Mapping[str, Any], runs: Path) -> Iterator[tuple[str, Any]]:
    """(name, figure) of a study, as its report has them."""
    draw = _ablation_figures if analysis["kind"] == "ablation" else _search_figures
    return draw(analysis, runs)


def _ablation_figures(analysis: Mapping[str, Any], runs: Path) -> Iterator[tuple[str, Any]]:
    from receipt_counter.report import study_figures as figures

    priority = list(analysis["priority_metrics"])
    for metric in priority:
        yield f"forest:{metric}", figures.effect_forest(analysis, metric)
    yield "tornado", figures.tornado(analysis, priority[0])
    yield "radar", figures.radar(analysis)
    for metric in analysis["baseline_metrics"]:
        yield f"bars:{metric}", figures.metric_bars(analysis, metric)
    yield from _curves("curves", analysis, runs)
    yield "slices", figures.slice_heat_map(analysis, "classification_accuracy")
    yield "cost:device_seconds", figures.cost_bars(analysis, "device_seconds", "Device time")
    yield "cost:model_gigabytes", figures.cost_bars(analysis, "model_gigabytes", "Model size")


def _search_figures(analysis: Mapping[str, Any], runs: Path) -> Iterator[tuple[str, Any]]:
    from receipt_counter.report import search_figures as figures
    from receipt_counter.report import study_figures
    from receipt_counter.report.parallel_coordinates import parallel_coordinates

    yield "history", figures.optimization_history(analysis)
    yield "importance", figures.importance_bars(analysis)
    yield "parallel_coordinates", parallel_coordinates(analysis)
    for key in analysis["parameter_sensitivity"]:
        yield f"sensitivity:{key}", figures.sensitivity_curve(analysis, key)
    yield "correlations", figures.correlation_heat_map(analysis)
    for across, up in itertools.combinations(analysis["priority_metrics"][:_PAIRS_OF], 2):
        yield f"pareto:{across}:{up}", figures.pareto_front(analysis, across, up)
    confirmation = analysis.get("confirmation")
    if confirmation:
        for metric in confirmation["priority_metrics"]:
            yield f"confirmation_forest:{metric}", study_figures.effect_forest(confirmation, metric)
        yield from _curves("confirmation_curves", confirmation, runs)


def _curves(name: str, analysis: Mapping[str, Any], runs: Path) -> Iterator[tuple[str, Any]]:
    from receipt_counter.report.seed_curves import read_histories, seed_curves

    for place, drawn in enumerate(seed_curves(analysis, read_histories(analysis, runs)), 1):
        yield f"{name}:{place}", drawn


def read_results(file: Path) -> dict[str, Any]:
    """What `analyse_study` wrote."""
    content: dict[str, Any] = json.loads(file.read_bytes())
    return content
