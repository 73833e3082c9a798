"""What a search found: best, front, importance, sensitivity, correlations, and the config file of the best."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.pandas import column, data_frames, range_indexes

from receipt_counter.config.loading import preset_names, resolve, resolve_onto
from receipt_counter.config.schema import Config, leaves
from receipt_counter.config.source import Setting
from receipt_counter.config.validation import NO_EFFECT
from receipt_counter.errors import UserError
from receipt_counter.study.search_analysis import analyse_search, best_config
from receipt_counter.study.settings import Objective, SearchParameter
from tests.support import small_config

ACCURACY, BLEU, LOSS = "classification_accuracy", "generation_bleu", "val_total_loss"
RATE = SearchParameter("training.learning_rate", (), 0.001, 0.1, None, log=True)
BATCH = SearchParameter("data.batch_size", (8, 16, 32))
NORM = SearchParameter("model.classifier.norm", ("batch", "layer", "none"))
HIDDEN = SearchParameter("model.classifier.hidden", ((64,), (128, 64)))
WEIGHT = SearchParameter("training.loss_weights.language", (), 1.0, 8.0)
DECAY = SearchParameter("training.optimizer.weight_decay", (0.005, 0.05))
CHECKPOINT = SearchParameter("model.checkpoint", (None, "somewhere"))
AUGMENTATION = SearchParameter("data.augmentation", (True, False))
SPACE = (RATE, BATCH, NORM, HIDDEN, WEIGHT)
OBJECTIVE, PRIORITY = Objective(), (ACCURACY, BLEU)


def search(trials: int, effect: str = RATE.key, seed: int = 0, noise: float = 0.02) -> list[dict[str, Any]]:
    """A random search in which one parameter moves both metrics, as `trials.csv` has it."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(trials):
        row: dict[str, Any] = {
            "trial": f"t-{number:02}",
            "status": "succeeded",
            RATE.key: repr(float(10 ** generator.uniform(-3, -1))),
            BATCH.key: str(generator.choice(BATCH.values)),
            NORM.key: str(generator.choice(NORM.values)),
            HIDDEN.key: ("[64]", "[128,64]")[generator.integers(2)],
            WEIGHT.key: repr(float(generator.uniform(1, 8))),
        }
        size = {
            RATE.key: (math.log10(float(row[RATE.key])) + 3) / 2,
            BATCH.key: BATCH.values.index(int(row[BATCH.key])) / 2,
            NORM.key: {"batch": 0.0, "layer": 1.0, "none": 0.0}[row[NORM.key]],
        }[effect]
        row[ACCURACY] = 0.5 + 0.4 * size + generator.normal(0, noise)
        row[BLEU] = 0.6 - 0.2 * size + generator.normal(0, noise)
        row |= {"attempts": 1, "started": 0.0, "ended": 60.0, "seconds": 60.0, "message": ""}
        rows.append(row)
    return rows


def table(*accuracies: float | None, statuses: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Trials of one parameter that say what they reached; None: failed."""
    rows = []
    for number, accuracy in enumerate(accuracies):
        status = statuses[number] if statuses else "failed" if accuracy is None else "succeeded"
        rows.append(
            {"trial": f"t{number}", "status": status, BATCH.key: "16", ACCURACY: accuracy, BLEU: 0.5, "seconds": 10.0}
            | {"message": "out of memory." if accuracy is None else ""}
        )
    return rows


def analysed(trials: Any, space: Any = SPACE, objective: Objective = OBJECTIVE, **settings: Any) -> dict[str, Any]:
    found = analyse_search(trials, space, objective, settings.pop("priority", PRIORITY), resamples=2, **settings)
    json.dumps(found, allow_nan=False)
    return found


@pytest.mark.parametrize("key", [RATE.key, BATCH.key, NORM.key])
def test_the_parameter_that_matters_is_found(key: str) -> None:
    found = analysed(search(30, key))
    shares, chance = (found["parameter_importance"][name] for name in ("parameters", "chance"))
    assert next(iter(shares)) == key
    assert shares[key]["low"] > max(0.5, chance)
    assert all(shares[other]["high"] < 0.3 for other in shares if other != key)
    assert any(text.startswith(f"{key} explains most of the differences (fANOVA 0.") for text in found["findings"])


def test_a_logarithmic_range_is_weighed_on_its_scale() -> None:
    rows = search(40)
    for row in rows:  # all of the effect is in the lowest third of the exponents: 4 % of the range as it stands
        row[ACCURACY] = 0.9 if float(row[RATE.key]) > 10**-2.3 else 0.5
        row[ACCURACY] += 0.1 * BATCH.values.index(int(row[BATCH.key]))
    flat = SearchParameter(RATE.key, (), RATE.low, RATE.high)
    log, linear = (analysed(rows, (p, BATCH, NORM, HIDDEN, WEIGHT)) for p in (RATE, flat))
    log_share, linear_share = (f["parameter_importance"]["parameters"][RATE.key]["importance"] for f in (log, linear))
    assert log_share > 0.6 > linear_share


class TestNoImportance:
    @pytest.mark.parametrize(
        ("rows", "reason"),
        [
            (search(5), "5 finished trials are too few for importances: 8 are the least"),
            (table(*[0.5] * 9), "every trial has the same objective: there is nothing to explain"),
            (
                table(*np.linspace(0, 1, 9)),
                "fewer than two parameters vary: there is nothing to share out between them",
            ),
            (table(*[None] * 9), "0 finished trials are too few for importances: 8 are the least"),
        ],
        ids=["few", "constant objective", "constant parameters", "all failed"],
    )
    def test_says_why(self, rows: Any, reason: str) -> None:
        space = SPACE if RATE.key in rows[0] else (BATCH,)
        found = analysed(rows, space)
        assert found["parameter_importance"]["parameters"] is None
        assert found["parameter_importance"]["reason"] == reason
        assert f"Importances of the parameters are not known: {reason}." in found["findings"]

    def test_chance_is_called_chance(self) -> None:
        rows = search(12)
        for row, value in zip(rows, np.random.default_rng(5).normal(0.5, 0.1, 12), strict=True):
            row[ACCURACY] = value
        findings = analyse_search(rows, SPACE, OBJECTIVE, PRIORITY, resamples=6)["findings"]
        assert any(text.startswith("12 trials are few: importances of parameters below 0.") for text in findings)
        assert not any("explains most" in text for text in findings)


class TestBest:
    def test_by_the_objective_and_by_each_priority_metric_the_earlier_of_equals(self) -> None:
        rows = table(0.7, 0.9, 0.9, None)
        rows[0][BLEU], rows[3][BLEU] = 0.8, 0.9
        best = analysed(rows, (BATCH,))["best_configurations"]
        assert best["objective"] == best[ACCURACY]
        assert best["objective"] == {"trial": "t1", "value": 0.9, "parameters": {BATCH.key: 16}}
        assert best[BLEU]["trial"] == "t0"

    def test_less_is_better_where_it_is(self) -> None:
        rows = [{**row, LOSS: loss} for row, loss in zip(search(7), np.linspace(3, 1, 7), strict=True)]
        found = analysed(rows, objective=Objective(metric=LOSS, goal=0.5), priority=(LOSS, ACCURACY))
        assert found["best_configurations"]["objective"]["trial"] == "t-06"
        assert found["optimization_history"][3]["best"] == rows[3][LOSS]
        assert found["pareto_front"][0]["trial"] == "t-06"
        assert found["findings"][0].startswith("Best: trial t-06 reaches 1.000 loss on val with ")
        assert "The goal of 0.500 is not reached." in found["findings"]

    def test_direction_is_told_of_what_matters(self) -> None:
        rows = search(12)
        for row in rows:
            row[LOSS] = 1 - row[ACCURACY]
        up, down = (analysed(rows, (RATE, BATCH), Objective(metric=metric))["findings"] for metric in (ACCURACY, LOSS))
        assert any("larger values are better (Spearman +" in text for text in up)
        assert any("larger values are better (Spearman -" in text for text in down)

    def test_early_stopped_trials_count_in_the_history_only(self) -> None:
        found = analysed(table(0.5, 0.9, 0.6, statuses=("succeeded", "early-stopped", "succeeded")), (BATCH,))
        assert found["best_configurations"]["objective"]["trial"] == "t2"
        assert [(row["value"], row["best"]) for row in found["optimization_history"]] == [
            (0.5, 0.5),
            (0.9, 0.5),
            (0.6, 0.6),
        ]
        assert found["findings"][-1] == "1 of 3 trials were stopped early, and are not compared."

    def test_one_trial(self) -> None:
        found = analysed(search(1))
        assert found["best_configurations"]["objective"]["trial"] == "t-00"
        assert len(found["pareto_front"]) == 1
        assert found["parameter_sensitivity"][RATE.key]["curve"][0]["low"] is None

    def test_no_trial_succeeded(self) -> None:
        found = analysed(table(None, None), (BATCH,))
        assert found["best_configurations"] == {"objective": None, ACCURACY: None, BLEU: None}
        assert found["pareto_front"] == []
        assert found["findings"][0].startswith("No trial succeeded")
        assert "2 of 2 trials gave no figures: t0 (out of memory); t1 (out of memory)." in found["findings"]
        assert found["failures"]["counts"] == {"failed": 2}
        assert found["cost"]["device_seconds"] == found["cost"]["by_status"]["failed"] == 20

    def test_no_trial_at_all(self) -> None:
        header = pd.DataFrame(columns=["trial", "status", *(parameter.key for parameter in SPACE)])
        assert analysed(header)["optimization_history"] == []


@given(
    data_frames(
        [column(name, elements=st.integers(0, 4).map(float)) for name in (ACCURACY, LOSS)],
        index=range_indexes(min_size=1, max_size=7),
    )
)
def test_the_front_is_what_nothing_dominates(metrics: pd.DataFrame) -> None:
    metrics = metrics.reset_index(drop=True)
    rows = [
        {"trial": str(n), "status": "succeeded", BATCH.key: 8, **row}
        for n, row in enumerate(metrics.to_dict("records"))
    ]
    found = analyse_search(rows, (BATCH,), OBJECTIVE, (ACCURACY, LOSS), resamples=2)["pareto_front"]
    gain = metrics.assign(**{LOSS: -metrics[LOSS]}).to_numpy()
    beaten = [any((other >= mine).all() and (other > mine).any() for other in gain) for mine in gain]
    assert {entry["trial"] for entry in found} == {str(n) for n, is_beaten in enumerate(beaten) if not is_beaten}
    assert [entry["values"][ACCURACY] for entry in found] == sorted(
        (entry["values"][ACCURACY] for entry in found), reverse=True
    )


class TestSensitivity:
    def test_listed_values_have_means_with_intervals(self) -> None:
        found = analysed(search(30, NORM.key), (NORM,))["parameter_sensitivity"][NORM.key]
        curve = {entry["value"]: entry for entry in found["curve"]}
        assert set(curve) == {"batch", "layer", "none"}
        assert sum(entry["n"] for entry in curve.values()) == 30
        assert 0.88 < curve["layer"]["low"] < curve["layer"]["mean"] < curve["layer"]["high"] < 0.92
        assert (found["scale"], found["spearman"]) == ("listed", None)

    def test_ranges_have_thirds_and_a_rank_correlation(self) -> None:
        found = analysed(search(30), (RATE,))["parameter_sensitivity"][RATE.key]
        curve = found["curve"]
        assert [entry["n"] for entry in curve] == [10, 10, 10]
        assert curve[0]["to"] < curve[1]["from"]
        assert curve[0]["high"] < curve[1]["mean"] < curve[2]["low"]
        assert found["scale"] == "log"
        assert found["spearman"]["rho"] > 0.9
        assert found["spearman"]["p"] < 0.001

    def test_three_trials_in_order_are_not_significant(self) -> None:
        rows = [
            {**row, RATE.key: rate, ACCURACY: rate} for row, rate in zip(search(3), (0.01, 0.02, 0.03), strict=True)
        ]
        found = analysed(rows)["parameter_sensitivity"][RATE.key]["spearman"]
        assert found["rho"] == pytest.approx(1)
        assert found["p"] > 0.3

    def test_a_constant_objective_has_a_mean_and_no_correlation(self) -> None:
        rows = [{**row, ACCURACY: 0.5} for row in search(10)]
        found = analysed(rows)
        assert found["parameter_sensitivity"][RATE.key]["spearman"] == {"rho": None, "p": None, "n": 10}
        assert {entry["low"] for entry in found["parameter_sensitivity"][RATE.key]["curve"]} == {0.5}
        assert found["parameter_correlations"][NORM.key][ACCURACY]["eta_squared"] is None


def test_correlations_are_by_rank_for_numbers_and_by_variance_for_categories() -> None:
    rows = search(30, NORM.key, noise=0.001)
    rows[0][BLEU] = None
    found = analysed(rows)["parameter_correlations"]
    assert set(found[RATE.key]) == {ACCURACY, BLEU}
    assert found[RATE.key][BLEU]["n"] == 29
    assert abs(found[RATE.key][ACCURACY]["rho"]) < 0.5
    assert found[BATCH.key][ACCURACY]["kind"] == "spearman"
    assert found[NORM.key][ACCURACY]["eta_squared"] > 0.99
    assert found[NORM.key][ACCURACY]["p"] < 0.001
    assert found[HIDDEN.key][ACCURACY]["eta_squared"] < 0.5


def test_the_table_may_come_from_its_file() -> None:
    rows = search(6)
    for number, row in enumerate(rows):
        row |= {CHECKPOINT.key: (None, "somewhere")[number % 2], AUGMENTATION.key: ("true", "false")[number % 2]}
    rows.append({**rows[-1], "trial": "bad", "status": "failed", ACCURACY: None, BLEU: None, "message": "a\nb"})
    space = (*SPACE, CHECKPOINT, AUGMENTATION)
    text = pd.DataFrame(rows).to_csv(index=False)
    assert analysed(pd.read_csv(io.StringIO(text)), space) == analysed(rows, space)


BAD_TABLES = {
    "no such column": ([{"trial": "a", "status": "failed", "data.batch_sise": 8}], ["no column data.batch_size"]),
    "value outside the search": (
        [{"trial": "a", "status": "failed", BATCH.key: "12"}, {"trial": "b", "status": "failed", BATCH.key: "many"}],
        ["trials: a: data.batch_size: 12 was not to be tried", "trials: b: data.batch_size: 'many' is not a whole"],
    ),
}


@pytest.mark.parametrize(("rows", "expected"), BAD_TABLES.values(), ids=BAD_TABLES.keys())
def test_a_table_of_another_search_is_refused(rows: Any, expected: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        analyse_search(rows, (BATCH,), OBJECTIVE, PRIORITY)
    for part in expected:
        assert part in caught.value.message


class TestBestConfig:
    @staticmethod
    def resolved(directory: Path, text: str) -> Config:
        path = directory / "best_config.yaml"
        path.write_text(text)
        return resolve(path).config

    @pytest.mark.parametrize("preset", preset_names())
    @pytest.mark.parametrize("other", preset_names())
    def test_run_takes_it_as_it_is(self, tmp_path: Path, preset: str, other: str) -> None:
        parameters = {"training.learning_rate": 0.00345, "data.batch_size": 24, "model.classifier.norm": "layer"}
        base = resolve(None, other, ["training.epochs=7", "seed=5"]).config
        text = best_config(base, preset, parameters)
        expected = resolve_onto(base, [Setting(key, value, "") for key, value in parameters.items()])
        found, meant = leaves(self.resolved(tmp_path, text)), leaves(expected)
        idle = tuple(name for rule in NO_EFFECT if rule.applies(expected) for name in rule.keys)
        differing = [key for key in meant if found[key] != meant[key]]
        assert all(key.startswith(idle) for key in differing)
        assert differing == [] or "full" in {preset, other} > {"full"}
        assert text.startswith(f"preset: {preset}\n")

    def test_it_equals_the_base_with_the_best_trials_parameters(self, tmp_path: Path) -> None:
        base = small_config()
        found = analysed(search(6))["best_configurations"]["objective"]["parameters"]
        one_layer = {**found, "model.classifier.hidden": [64]}
        expected = resolve_onto(base, [Setting(key, value, "") for key, value in one_layer.items()])
        assert self.resolved(tmp_path, best_config(base, "laptop", one_layer)) == expected

    def test_it_states_only_what_differs(self) -> None:
        base = resolve(None, "study").config
        assert best_config(base, "study", {"training.epochs": 2}) == "preset: study\ntraining:\n  epochs: 2\n"
        assert best_config(base, "study", {}) == "preset: study\n"

    def test_values_without_effect_are_left_out(self, tmp_path: Path) -> None:
        base = resolve(None, "laptop", ["training.schedule.min_ratio=0.1"]).config
        text = best_config(base, "laptop", {"training.schedule.name": "constant"})
        assert self.resolved(tmp_path, text).training.schedule.name == "constant"
        assert "min_ratio" not in text
