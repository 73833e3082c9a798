"""Effects of designs, from predictions whose effects are known."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from receipt_counter.storage.run import Run
from receipt_counter.study.ablation_analysis import VariantRuns
from receipt_counter.study.design_analysis import analyse_design
from receipt_counter.study.design_findings import design_findings
from receipt_counter.study.variants import BASELINE, Step
from tests.evaluation.fabricate import fabricate_predictions

METRIC = "classification_accuracy"
SEEDS = (1, 2, 3)
IMAGES = 200


def run(directory: Path, share: float, seed: int) -> Run:
    """A run that counts this share of the images right; which ones, the seed moves a little."""
    lines = fabricate_predictions(IMAGES, skill=1.0)
    difficulty = np.random.default_rng(0).permutation(IMAGES) + np.random.default_rng([1, seed]).normal(0, 4, IMAGES)
    for rank, index in enumerate(np.argsort(difficulty)):
        if rank >= round(share * IMAGES):
            lines[index]["predicted"] = (lines[index]["label"] + 1) % 3
    file = directory / str(seed) / "evaluation" / "analysis" / "predictions.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Run(directory / str(seed))


def variant(
    directory: Path,
    name: str,
    share: float,
    *,
    levels: dict[str, str] | None = None,
    step: Step | None = None,
    seeds: tuple[int, ...] = SEEDS,
) -> VariantRuns:
    runs = {seed: run(directory / name, share, seed) for seed in seeds}
    return VariantRuns(name, "", "", runs, levels or {}, step)


def cell_of(levels: tuple[str, ...], names: str) -> tuple[str, dict[str, str]]:
    made = ".".join(level for level in levels if level != BASELINE)
    return made or BASELINE, dict(zip(names, levels, strict=True))


def factorial(directory: Path, seeds: dict[str, tuple[int, ...]] | None = None) -> dict[str, Any]:
    """a costs 20 points, b nothing, both together another 10; c nothing at all."""
    variants = []
    for chosen in itertools.product(*((BASELINE, name) for name in "abc")):
        name, levels = cell_of(chosen, "abc")
        share = 0.9 - 0.2 * ("a" in chosen) - 0.1 * ("a" in chosen and "b" in chosen)
        variants.append(variant(directory, name, share, levels=levels, seeds=(seeds or {}).get(name, SEEDS)))
    return {**analyse_design(variants, [METRIC], "analysis"), "seeds": list(SEEDS)}


class TestFactorial:
    def test_effects_are_those_that_were_put_in(self, tmp_path: Path) -> None:
        analysis = factorial(tmp_path)
        found = analysis["factorial"]
        main = {name: entry["effects"][METRIC] for name, entry in found["main_effects"].items()}
        pairs = {name: entry["effects"][METRIC] for name, entry in found["interactions"].items()}
        # a main effect is averaged over the levels of the others
        assert {name: effect["effect"] for name, effect in main.items()} == pytest.approx(
            {"a": -0.25, "b": -0.05, "c": 0.0}
        )
        assert {name: effect["effect"] for name, effect in pairs.items()} == pytest.approx(
            {"a.b": -0.1, "a.c": 0.0, "b.c": 0.0}, abs=1e-9
        )
        assert (main["a"]["verdict"], main["c"]["identical"], main["a"]["n_seeds"]) == ("worse", True, 3)
        assert all(effect["p_holm"] >= effect["p"] for effect in (*main.values(), *pairs.values()))
        assert main["a"]["p_holm"] > main["a"]["p"]
        assert (found["resolution"], found["seeds"], found["missing"]) == (None, [1, 2, 3], [])
        assert found["cells"]["a.b"] == {"a": "a", "b": "b", "c": BASELINE}
        sentences = design_findings(analysis)
        assert any(s.startswith("Averaged over the other factors, a costs 25.0 points of counting") for s in sentences)
        assert any(
            "The effects of a and b on counting accuracy do not add up: together they make -10.0" in s
            for s in sentences
        )
        assert json.dumps(analysis, allow_nan=False)

    def test_a_seed_that_one_cell_lacks_is_left_out_of_all(self, tmp_path: Path) -> None:
        analysis = factorial(tmp_path, {"a.b": (1, 3)})
        assert analysis["factorial"]["main_effects"]["a"]["effects"][METRIC]["n_seeds"] == 2
        assert "The factorial design is analysed over seed 1, 3, which all its cells have." in design_findings(analysis)

    def test_without_a_cell_nothing_is_told(self, tmp_path: Path) -> None:
        analysis = factorial(tmp_path, {"a.b": ()})
        assert analysis["factorial"]["main_effects"] == {}
        assert design_findings(analysis) == ["The factorial design tells nothing: a.b has no finished run."]

    def test_a_fraction_says_what_it_cannot_tell_apart(self, tmp_path: Path) -> None:
        """c is never made without a or b alone: its cells are those of a.b with the sign turned."""
        cells = [(BASELINE,) * 3, ("a", BASELINE, "c"), (BASELINE, "b", "c"), ("a", "b", BASELINE)]
        variants = []
        for chosen in cells:
            name, levels = cell_of(chosen, "abc")
            variants.append(variant(tmp_path, name, 0.9 - 0.3 * ("c" in chosen), levels=levels))
        analysis = {**analyse_design(variants, [METRIC], "analysis"), "seeds": list(SEEDS)}
        found = analysis["factorial"]
        assert (found["resolution"], found["interactions"]) == (3, {})
        assert found["main_effects"]["c"]["aliases"] == ["-a.b"]
        assert found["main_effects"]["c"]["effects"][METRIC]["effect"] == pytest.approx(-0.3)
        assert any(s.endswith("; this fraction cannot tell it from a.b.") for s in design_findings(analysis))


def path(directory: Path, seeds: dict[int, tuple[int, ...]] | None = None) -> dict[str, Any]:
    shares = {1: 0.6, 2: 0.6, 3: 0.9}
    variants = [variant(directory, BASELINE, 0.5)]
    for number, share in shares.items():
        of_step = (seeds or {}).get(number, SEEDS)
        step = Step(number, f"key.{number}=1")
        variants.append(variant(directory, f"path.{number}", share, step=step, seeds=of_step))
    return {**analyse_design(variants[::-1], [METRIC], "analysis"), "seeds": list(SEEDS)}


class TestPath:
    def test_steps_add_up_to_the_whole(self, tmp_path: Path) -> None:
        analysis = path(tmp_path)
        steps = analysis["path"]
        assert [step["step"] for step in steps] == [1, 2, 3]
        effects = [step["effect"][METRIC]["effect"] for step in steps]
        assert effects == pytest.approx([0.1, 0.0, 0.3])
        assert [step["cumulative"][METRIC]["effect"] for step in steps] == pytest.approx(np.cumsum(effects).tolist())
        assert analysis["factorial"] == {}
        first, silent, end = [s for s in design_findings(analysis) if "Step 3" not in s]
        assert first.startswith("Step 1 of the path (key.1=1) gains 10.0 points of counting accuracy")
        assert silent == "On the path, step 2 (key.2=1) changes nothing measurable."
        assert end.startswith("The end of the path gains 40.0 points of counting accuracy")

    def test_a_step_without_runs_joins_the_next(self, tmp_path: Path) -> None:
        steps = path(tmp_path, {2: ()})["path"]
        assert [(step["step"], step["changes"]) for step in steps] == [(1, "key.1=1"), (3, "key.2=1 key.3=1")]

    def test_all_steps_are_told_over_the_seeds_they_share(self, tmp_path: Path) -> None:
        steps = path(tmp_path, {2: (2, 3)})["path"]
        assert {step[side][METRIC]["n_seeds"] for step in steps for side in ("effect", "cumulative")} == {2}

    def test_no_path_no_entries(self, tmp_path: Path) -> None:
        assert path(tmp_path, {1: (), 2: (), 3: ()})["path"] == []
