"""What is found in runs made up for the test: a variation that collapses, a cheaper one, and what changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from receipt_counter.storage.run import Run
from receipt_counter.study.ablation_analysis import SPLIT, VariantRuns, analyse_ablation
from receipt_counter.study.findings import ablation_findings
from tests.evaluation.fabricate import fabricate_mistakes

PRIORITY = ("classification_accuracy", "generation_bleu", "generation_rouge1_f")
SECONDS = (20.0, 24.0, 30.0)  # a busy machine
SKILLS = {  # of three seeds
    "baseline": (0.87, 0.88, 0.88),
    "collapsed": (0.10, 0.20, 0.30),
    **{f"other_{index}": tuple(0.875 + 0.005 * np.roll((-1, 0, 1), index)) for index in range(8)},
}
COSTS = {"other_0": (0.5, 0.52, 0.51), "other_1": (0.3, 1.2, 0.8)}  # times SECONDS: surely cheaper, and perhaps


def variant(name: str, directory: Path, seeds: int) -> VariantRuns:
    """The runs of one variant, as a study leaves them."""
    runs = {}
    for seed in range(seeds):
        run = Run(directory / f"{name}-{seed}")
        factor = COSTS.get(name, (1.0, 1.01, 0.99))[seed]
        lines = fabricate_mistakes(SKILLS[name][seed], images=120, seed=seed)
        figures = dict.fromkeys((*PRIORITY, "answer_accuracy"), 0.5)
        run.update(device_seconds=factor * SECONDS[seed], splits={SPLIT: {**figures, "model_gigabytes": 0.8}})
        run.evaluation(SPLIT).mkdir(parents=True)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (run.evaluation(SPLIT) / "predictions.jsonl").write_text(text)
        runs[seed] = run
    return VariantRuns(name, "family", f"key={name}", runs)


@pytest.fixture(scope="module")
def analyses(tmp_path_factory: pytest.TempPathFactory) -> Mapping[int, dict[str, Any]]:
    """{seeds: the analysis}."""
    found = {}
    for seeds in (1, 3):
        variants = [variant(name, tmp_path_factory.mktemp("runs"), seeds) for name in SKILLS]
        analysis = analyse_ablation(variants, PRIORITY)
        found[seeds] = {**analysis, "findings": ablation_findings(analysis)}
    return found


def test_a_collapse_survives_the_correction_at_three_seeds(analyses: Mapping[int, dict[str, Any]]) -> None:
    effect = analyses[3]["ablation_analysis"]["collapsed"]["classification_accuracy"]
    questions = len(PRIORITY) * (len(SKILLS) - 1)
    assert questions * effect["p"] > 0.05 > effect["p_holm"]
    assert effect["verdict"] == "worse"
    assert analyses[3]["ranking"][0]["significant"]
    others = [name for name in SKILLS if name.startswith("other")]
    assert all(analyses[3]["ablation_analysis"][name][PRIORITY[0]]["verdict"] == "undecided" for name in others)


def test_costs_have_intervals_over_seeds(analyses: Mapping[int, dict[str, Any]]) -> None:
    costs = {name: found["cost_ratio"] for name, found in analyses[3]["variations"].items()}
    cheaper, perhaps = costs["other_0"]["device_seconds"], costs["other_1"]["device_seconds"]
    assert cheaper["ratio"] == pytest.approx((0.5 * 0.52 * 0.51) ** (1 / 3), rel=1e-3)
    assert 0.45 < cheaper["low"] < cheaper["ratio"] < cheaper["high"] < 0.6
    assert perhaps["low"] < 1 < perhaps["high"]
    assert costs["other_0"]["model_gigabytes"] == 1
    savings = [sentence for sentence in analyses[3]["findings"] if "saves" in sentence]
    assert len(savings) == 1
    assert "other_0 could be had" in savings[0]


def test_one_seed_claims_no_saving(analyses: Mapping[int, dict[str, Any]]) -> None:
    cost = analyses[1]["variations"]["other_0"]["cost_ratio"]["device_seconds"]
    assert (cost["ratio"], cost["low"], cost["high"]) == (pytest.approx(0.5), None, None)
    assert not any("saves" in sentence for sentence in analyses[1]["findings"])
    assert json.dumps(analyses[1], allow_nan=False)
