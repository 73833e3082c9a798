"""Visualize: draw a run's report."""

from kfp import dsl

from components import component


@component
def visualize(
    *,
    run: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    code_version: str,
    report: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
) -> None:
    """Write report.html into the run's directory and show it.

    Args:
        run: the trained run.
        evaluation: its figures; the report shows them.
        code_version: version of the code that should run; part of the cache key.
        report: the report, one self-contained page.
        summary: the run in a few lines.
    """
    from pathlib import Path

    from receipt_counter import steps
    from receipt_counter.storage.run import Run

    with steps.step("visualize") as progress:
        drawn = Run.open(steps.handed(run, "events", "evaluation"))
        Path(report.path).write_bytes(steps.visualize(drawn, progress).read_bytes())
        split = evaluation.metadata["split"]
        Path(summary.path).write_text(steps.run_markdown(drawn, split))
