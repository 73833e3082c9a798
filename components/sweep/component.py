"""Sweep: run the trials of a study."""

from kfp import dsl

from components import component


@component
def sweep(
    *,
    experiment: str,
    store: str,
    engine: str,
    workers: int,
    code_version: str,
    study: dsl.Output[dsl.Artifact],
    trials: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Metrics],
) -> None:
    """Run a Katib Experiment with an engine; continue if it was interrupted, do nothing if it is finished.

    Args:
        experiment: the Experiment and its ConfigMaps, as YAML.
        store: where runs and studies live.
        engine: where trials run: local or katib.
        workers: of the local engine, processes at a time; 0 takes one a core.
        code_version: version of the code that should run; part of the cache key.
        study: its location is the study's directory or URL.
        trials: its location is the table of trials, trials.csv.
        summary: trials, failures, device-hours, the best objective.
    """
    import json
    from pathlib import Path

    from receipt_counter import steps, study_steps
    from receipt_counter.storage.store import open_store

    with steps.step("sweep") as progress:
        result = study_steps.sweep(experiment, open_store(store), engine, workers, progress)
        steps.hand_on(study, result.directory)
        study.metadata.update(study_id=result.study_id, outcome=result.outcome, code_version=code_version)
        steps.hand_on(trials, result.directory / "trials.csv")
        figures = study_steps.sweep_figures(result)
        for name, value in figures.items():
            summary.log_metric(name, value)
        Path(summary.path).write_text(json.dumps(figures))
