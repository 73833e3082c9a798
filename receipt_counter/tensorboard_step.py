"""The pipelines' step that shows a study while it runs; apart, because on one machine it must cost nothing."""

from __future__ import annotations

import os

from receipt_counter.steps import PIPELINE_POD

SECONDS_TO_BEGIN = 120.0  # that a study may take until its Experiment is there: the sweep's image may have to be pulled


def show_study(config: str, experiment: str, store: str) -> str:
    """Make a study's TensorBoard where a pipeline's pod calls it; elsewhere say how to start one.

    Args:
        config: the resolved config, as YAML.
        experiment: the study's Experiment and its ConfigMaps, as YAML.
        store: where runs live.

    Returns:
        A page about it, as Markdown.
    """
    if PIPELINE_POD not in os.environ:
        return f"# TensorBoard\n\n`receipt-counter tensorboard --store {store}` shows the runs of {store}.\n"
    from receipt_counter.cluster.tensorboard import study_page
    from receipt_counter.config.loading import parse_config
    from receipt_counter.engines.base import name_of
    from receipt_counter.engines.katib.submission import submitted
    from receipt_counter.study.documents import parse_document

    study = name_of(submitted(parse_document(experiment)).experiment)
    return study_page(parse_config(config).cluster, study, SECONDS_TO_BEGIN)
