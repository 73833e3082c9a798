"""Imports that take seconds are made once, cheaply, and only where they are needed."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from receipt_counter.importing import importing

PROJECT = Path(__file__).resolve().parents[2]


def test_the_collector_rests_and_leaves_alone_what_was_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    before = gc.get_freeze_count()
    with importing():
        assert not gc.isenabled()
        kept = [[number] for number in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(kept)


def test_nothing_is_different_where_torch_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that trains several runs would keep the rubbish of each."""
    monkeypatch.setitem(sys.modules, "torch", sys)
    before = gc.get_freeze_count()
    with importing():
        assert gc.isenabled()
        kept = [[number] for number in range(1000)]
    assert gc.get_freeze_count() < before + len(kept)


def test_reports_comparisons_and_promotion_import_nothing_heavy() -> None:
    """nltk comes with ROUGE, scikit-learn and pandas with nltk: a second each time."""
    modules = ("study_steps", "study.compare", "report.run_report", "report.study_report", "promotion.decision")
    code = f"""
import importlib, sys
for name in {modules}:
    importlib.import_module("receipt_counter." + name)
print(*[name for name in ("torch", "transformers", "nltk", "sklearn", "pandas", "kfp") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
