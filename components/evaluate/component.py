"""Evaluate: judge a run's best model on images it never saw."""

from kfp import dsl

from components import component


@component
def evaluate(
    *,
    run: dsl.Input[dsl.Model],
    dataset: dsl.Input[dsl.Dataset],
    split: str,
    code_version: str,
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    confusion: dsl.Output[dsl.ClassificationMetrics],
    gates: dsl.Output[dsl.Markdown],
) -> None:
    """Measure a model.

    Args:
        run: the trained run.
        dataset: the dataset it was trained on.
        split: the split to judge on.
        code_version: version of the code that should run; part of the cache key.
        evaluation: its location is the directory or URL of figures and predictions.
        metrics: every figure, flat.
        confusion: the confusion matrix.
        gates: the figures against the promotion gates.
    """
    import json
    from pathlib import Path

    from receipt_counter import steps
    from receipt_counter.data.dataset import Dataset
    from receipt_counter.storage.run import Run

    with steps.step("evaluate") as progress:
        judged = Run.open(steps.handed(run, "model", "evaluation"))
        figures = steps.evaluate(judged, Dataset.open(steps.handed(dataset)), split, progress)
        steps.hand_on(evaluation, judged.evaluation(split))
        evaluation.metadata.update(split=split, code_version=code_version)
        for name, value in figures.items():
            metrics.log_metric(name, value)
        Path(metrics.path).write_text(json.dumps(figures))
        matrix = json.loads((judged.evaluation(split) / "confusion.json").read_text())
        confusion.log_confusion_matrix(matrix["labels"], matrix["matrix"])
        Path(confusion.path).write_text(json.dumps(matrix))
        Path(gates.path).write_text(steps.gates_markdown(judged, split))
