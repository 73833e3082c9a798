"""Every test runs with one OpenMP thread: parallel tests on few cores collapse otherwise."""

import gc
import os

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# How long one example takes, or drawing it, says how busy the machine is, nothing else.
settings.register_profile("receipt-counter", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("receipt-counter")

# Folders whose files take longest: begun first, so that no worker is left alone with one of them at the end.
LONGEST = ("docker", "pipeline", "s3", "engines", "training", "config", "study", "promotion", "monitor", "cli")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the longest files to the front; the order is kept by --no-loadscope-reorder."""

    def rank(item: pytest.Item) -> int:
        folder = item.path.parent.name
        return LONGEST.index(folder) if folder in LONGEST else len(LONGEST)

    items.sort(key=rank)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What all tests have imported stays: the garbage collector need not look at it again and again."""
    gc.freeze()
