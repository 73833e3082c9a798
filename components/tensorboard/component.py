"""TensorBoard: show a study's runs while it runs."""

from kfp import dsl

from components import component


@component
def tensorboard(
    *,
    config: str,
    experiment: str,
    store: str,
    code_version: str,
    page: dsl.Output[dsl.Markdown],
) -> None:
    """Make a study's TensorBoard on a cluster; on one machine only say how to start it.

    Args:
        config: the resolved config, as YAML.
        experiment: the Experiment and its ConfigMaps, as YAML.
        store: where runs and studies live.
        code_version: version of the code that should run; part of the cache key.
        page: where it is.
    """
    from pathlib import Path

    from receipt_counter import steps
    from receipt_counter.tensorboard_step import show_study

    with steps.step("tensorboard") as progress:
        text = show_study(config, experiment, store)
        progress.note(text.splitlines()[2])
        Path(page.path).write_text(text)
