"""Prepare data: render receipts, or check the user's own dataset."""

from kfp import dsl

from components import component


@component
def prepare_data(
    *,
    config: str,
    store: str,
    data_fingerprint: str,
    code_version: str,
    dataset: dsl.Output[dsl.Dataset],
    counts: dsl.Output[dsl.Metrics],
    card: dsl.Output[dsl.Markdown],
) -> None:
    """Make the dataset a config asks for.

    Args:
        config: the resolved config, as YAML.
        store: where rendered datasets live.
        data_fingerprint: fingerprint of the user's own dataset, or empty; part of the cache key.
        code_version: version of the code that should run; part of the cache key.
        dataset: its location is the dataset's directory or URL.
        counts: images in each split.
        card: what is in the dataset.
    """
    import json
    from pathlib import Path

    from receipt_counter import steps
    from receipt_counter.config.loading import parse_config
    from receipt_counter.storage.store import open_store

    with steps.step("prepare data") as progress:
        prepared = steps.prepare_data(parse_config(config), open_store(store), progress)
        steps.hand_on(dataset, prepared.path)
        dataset.metadata.update(fingerprint=prepared.fingerprint, code_version=code_version)
        for split, images in prepared.splits.items():
            counts.log_metric(f"{split}_images", images)
        Path(counts.path).write_text(json.dumps(prepared.splits))
        Path(card.path).write_text((prepared.path / "card.md").read_text())
