"""What a study will cost, from what past runs took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from receipt_counter.config.loading import from_yaml
from receipt_counter.config.schema import Config
from receipt_counter.errors import UserError
from receipt_counter.storage.files import read_json
from receipt_counter.storage.store import Store

_RANGE = (10, 90)  # percentiles of past runs that make the range


@dataclass(frozen=True)
class Estimate:
    """Expected cost; the range is what past runs' own spread makes likely.

    Attributes:
        device_hours, low, high: sum over all runs, hours.
        hours: duration with the study's parallelism.
        past_runs: how many runs it is based on.
    """

    device_hours: float
    low: float
    high: float
    hours: float
    past_runs: int


@dataclass(frozen=True)
class _Past:
    """Device seconds a run took for a picture it trained on."""

    config: Config
    seconds_per_picture: float


def estimate(configs: Sequence[Config], parallelism: int, store: Store, train_images: int | None) -> Estimate | None:
    """Estimate what runs will cost.

    Args:
        configs: one for each run.
        parallelism: how many run at the same time.
        store: where past runs are looked for.
        train_images: size of the user's own train split; None when pictures are rendered.

    Returns:
        None when no past run is like these: same model, picture size and device.
    """
    past = list(_past_runs(store))
    totals = []
    for config in configs:
        like = [run.seconds_per_picture for run in past if _alike(run.config, config)]
        if not like:
            return None
        pictures = _pictures(config, train_images or config.data.render.train_images)
        low, middle, high = np.percentile(like, (_RANGE[0], 50, _RANGE[1]))
        totals.append((pictures * low, pictures * middle, pictures * high))
    low, middle, high = (float(total) / 3600 for total in np.sum(totals, axis=0))
    longest = max(total[1] for total in totals) / 3600
    used = sum(any(_alike(run.config, config) for config in configs) for run in past)
    return Estimate(middle, low, high, max(middle / parallelism, longest), used)


def _past_runs(store: Store) -> Iterator[_Past]:
    store.pull_records()
    for file in sorted(store.runs.glob("*/run.json")):
        try:
            record, config = read_json(file), from_yaml(file.parent / "config.yaml")
        except UserError:
            continue  # of another version, or just being written
        pictures = record.get("step", 0) * _global_batch(config)
        if record.get("status") == "finished" and pictures:
            yield _Past(config, record["device_seconds"] / pictures)


def _alike(one: Config, other: Config) -> bool:
    """Whether a picture costs about the same: nothing else moves it by more than a few per cent."""
    return (
        one.data.image_size == other.data.image_size
        and one.model.checkpoint == other.model.checkpoint
        and one.model.architecture == other.model.architecture
    )


def _global_batch(config: Config) -> int:
    return config.data.batch_size * config.training.processes * config.training.gradient_accumulation_steps


def _pictures(config: Config, split: int) -> int:
    """Pictures a run trains on, early stopping aside."""
    return min(split, config.data.epoch_images or split) * config.training.epochs
