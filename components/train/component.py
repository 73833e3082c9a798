"""Train: one run, from its config and dataset to the best model."""

from kfp import dsl

from components import component


@component
def train(
    *,
    config: str,
    dataset: dsl.Input[dsl.Dataset],
    store: str,
    experiment_name: str,
    code_version: str,
    run: dsl.Output[dsl.Model],
    summary: dsl.Output[dsl.Metrics],
) -> None:
    """Train a model, here or as a TrainJob; continue if it was interrupted, do nothing if it is finished.

    Args:
        config: the resolved config, as YAML.
        dataset: the prepared dataset.
        store: where runs live.
        experiment_name: recorded with the run.
        code_version: version of the code that should run; part of the cache key.
        run: its location is the run's directory or URL.
        summary: what the training cost.
    """
    import json
    from pathlib import Path

    from receipt_counter import steps
    from receipt_counter.config.loading import parse_config
    from receipt_counter.data.dataset import Dataset
    from receipt_counter.storage.run import Run

    with steps.step("train") as progress:
        data = Dataset.open(steps.handed(dataset))
        directory = steps.train(parse_config(config), data, store, experiment_name, progress)
        steps.hand_on(run, directory)
        run.metadata.update(run_id=directory.name, code_version=code_version)
        figures = steps.training_figures(Run.open(directory))
        for name, value in figures.items():
            summary.log_metric(name, value)
        Path(summary.path).write_text(json.dumps(figures))
