"""Every algorithm stays inside the space, repeats itself exactly, and learns in the order of the trials."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receipt_counter.engines.base import FAILED, SUCCEEDED, Metric, Objective, TrialResult
from receipt_counter.engines.local.algorithms import Algorithm
from receipt_counter.engines.local.axes import Axis
from receipt_counter.engines.local.hyperband import rungs
from receipt_counter.engines.local.median_stop import MedianStop
from receipt_counter.engines.local.suggestions import make_suggester
from receipt_counter.katib.space import Parameter

LOSS = Objective("loss", False, None, {"loss": "min"})
RATE = Parameter("rate", "double", 1e-5, 1e-1, None, True, "logUniform")
WIDTH = Parameter("width", "int", 1, 9, 2.0)
SHARE = Parameter("share", "double", 0.0, 1.0, 0.1)
BELL = Parameter("bell", "double", -1.0, 3.0, None, False, "normal")
KIND = Parameter("kind", "categorical", values=("a", "b", "c"))
SIZE = Parameter("size", "discrete", values=("8", "16"))
SPACE = (RATE, WIDTH, SHARE, BELL, KIND, SIZE)
HYPERBAND = {"r_l": 9.0, "eta": 3.0, "resource_name": "width"}
ALGORITHMS = {
    "random": {},
    "tpe": {"n_startup_trials": 3},
    "multivariate-tpe": {"n_startup_trials": 3},
    "bayesianoptimization": {"n_startup_trials": 3},
    "cmaes": {},
    "sobol": {},
    "hyperband": HYPERBAND,
}


def result(index: int, assignments: dict[str, str], *, failed: bool = False) -> TrialResult:
    value = None if failed else float(assignments.get("share", 0)) + float(assignments.get("rate", 0))
    return TrialResult(f"t-{index}", index, FAILED if failed else SUCCEEDED, assignments, objective=value)


def play(algorithm: Algorithm, count: int, parameters: tuple[Parameter, ...] = SPACE) -> list[dict[str, str]]:
    """Suggestions when each trial sees the results of those two before it; every fifth fails."""
    suggester = make_suggester(algorithm, parameters, LOSS)
    done: dict[int, TrialResult] = {}
    for index in range(min(count, suggester.total or count)):
        known = {i: trial for i, trial in done.items() if i <= index - 2 or i in suggester.waits_for(index)}
        assignments = suggester.suggest(index, known)
        assert assignments is not None
        done[index] = result(index, assignments, failed=index % 5 == 4)
    return [dict(done[index].assignments) for index in sorted(done)]


def is_inside(parameter: Parameter, text: str) -> bool:
    if parameter.values or parameter.step:
        return text in parameter.grid()
    assert parameter.low is not None
    assert parameter.high is not None
    return parameter.low <= float(text) <= parameter.high


@pytest.mark.parametrize("name", ALGORITHMS)
def test_inside_and_reproducible(name: str) -> None:
    suggested = play(Algorithm(name, ALGORITHMS[name]), 9)
    assert suggested == play(Algorithm(name, ALGORITHMS[name]), 9)
    for assignments in suggested:
        assert list(assignments) == [parameter.name for parameter in SPACE]
        assert all(is_inside(parameter, assignments[parameter.name]) for parameter in SPACE)


@pytest.mark.parametrize("name", ["random", "tpe", "cmaes"])
def test_the_seed_matters(name: str) -> None:
    assert play(Algorithm(name, {"seed": 7}), 6) != play(Algorithm(name, {"seed": 8}), 6)


@pytest.mark.parametrize("name", ["tpe", "multivariate-tpe", "bayesianoptimization", "cmaes"])
def test_results_matter(name: str) -> None:
    def last(sign: int) -> list[dict[str, str] | None]:
        suggester = make_suggester(Algorithm(name, {"n_startup_trials": 3} if name != "cmaes" else {}), SPACE, LOSS)
        done: dict[int, TrialResult] = {}
        for index in range(12):
            assignments = suggester.suggest(index, done)
            assert assignments is not None
            value = sign * math.log(float(assignments["rate"]))
            done[index] = TrialResult(f"t-{index}", index, SUCCEEDED, assignments, objective=value)
        return [dict(done[index].assignments) for index in range(8, 12)]

    assert last(1) != last(-1)


@pytest.mark.parametrize("name", ["random", "tpe", "multivariate-tpe", "bayesianoptimization"])
def test_a_finite_space_is_tried_once(name: str) -> None:
    space = (KIND, SIZE, Parameter("n", "int", 1, 2, 1.0))
    suggested = play(Algorithm(name, {}), 99, space)
    assert len(suggested) == 12
    assert len({tuple(assignments.items()) for assignments in suggested}) == 12


def test_grid_order() -> None:
    suggested = play(Algorithm("grid", {}), 99, (SIZE, KIND))
    assert suggested == [{"size": s, "kind": k} for s, k in itertools.product(SIZE.values, KIND.values)]
    shuffled = play(Algorithm("grid", {"seed": 3}), 99, (SIZE, KIND))
    assert shuffled != suggested
    assert sorted(map(str, shuffled)) == sorted(map(str, suggested))


def test_a_corrected_suggestion_is_what_is_learnt() -> None:
    suggester = make_suggester(Algorithm("tpe", {"n_startup_trials": 1}), SPACE, LOSS)
    first = suggester.suggest(0, {})
    assert first is not None
    other = {**first, "kind": "c" if first["kind"] != "c" else "a"}
    suggester.correct(0, other)
    assert suggester.suggest(1, {0: result(0, other)}) is not None


@pytest.mark.parametrize("parameter", SPACE, ids=lambda parameter: parameter.name)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_values_come_back(parameter: Parameter, data: st.DataObject) -> None:
    axis = Axis(parameter)
    distribution = axis.distribution
    if parameter.values:
        value = data.draw(st.sampled_from(parameter.values))
    else:
        low, high = distribution.to_external_repr(distribution.low), distribution.to_external_repr(distribution.high)
        value = data.draw(st.integers(low, high) if parameter.kind == "int" else st.floats(low, high))
    text = axis.text(value)
    assert is_inside(parameter, text)
    assert axis.text(axis.value(text)) == text or parameter is BELL


def test_a_wide_whole_number_is_not_enumerated() -> None:
    axis = Axis(Parameter("n", "int", 1, 10**12, 1.0))
    assert axis.text(5) == "5"
    assert axis.size == 10**12


# R = 81, eta = 3: the brackets of Li et al. 2018, table 1, with every size rounded up, as Katib does.
TABLE = [
    [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    [(34, 3), (12, 9), (4, 27), (2, 81)],
    [(15, 9), (5, 27), (2, 81)],
    [(8, 27), (3, 81)],
    [(5, 81)],
]


def test_rungs() -> None:
    found = [(len(rung.trials), rung.resource) for rung in rungs(81, 3)]
    assert found == [pair for bracket in TABLE for pair in bracket]
    assert len(rungs(243, 3)[0].trials) == 81  # as in Katib: log(243) / log(3) is a hair below 5


def test_hyperband_keeps_the_best_of_each_rung() -> None:
    suggester = make_suggester(Algorithm("hyperband", HYPERBAND), (RATE, WIDTH), LOSS)
    done: dict[int, TrialResult] = {}
    for index in range(9):
        assignments = suggester.suggest(index, {})
        assert assignments is not None
        assert assignments["width"] == "1"
        done[index] = result(index, assignments, failed=index in (0, 1))
    best = sorted((trial for trial in done.values() if trial.objective is not None), key=lambda t: t.objective or 0)
    assert list(suggester.waits_for(9)) == list(range(9))
    for place in range(3):
        assert suggester.suggest(9 + place, done) == {**best[place].assignments, "width": "3"}


def test_hyperband_leaves_places_empty_when_too_few_succeed() -> None:
    suggester = make_suggester(Algorithm("hyperband", HYPERBAND), (RATE, WIDTH), LOSS)
    done = {i: result(i, suggester.suggest(i, {}) or {}, failed=i > 1) for i in range(9)}
    assert [suggester.suggest(9 + place, done) is None for place in range(3)] == [False, False, True]


def reports(*values: float, status: str = SUCCEEDED) -> TrialResult:
    return TrialResult("t", 0, status, {}, {"loss": Metric(1, 1, 1)}, {"loss": values})


@pytest.mark.parametrize(
    ("known", "reported", "stopped"),
    [
        pytest.param([reports(1, 1)] * 2, [9, 9], False, id="too few trials"),
        pytest.param([reports(1, 1)] * 2 + [reports(1, 1, status=FAILED)], [9, 9], False, id="a failed one is none"),
        pytest.param([reports(1, 1), reports(2, 2), reports(9, 9)], [9, 3], True, id="worse than the median"),
        pytest.param([reports(1, 1), reports(2, 2), reports(9, 9)], [1, 3], False, id="its best counts"),
        pytest.param([reports(1, 1), reports(2, 2), reports(9, 9)], [9, 2], False, id="as good as the median"),
        pytest.param([reports(3, 1, 0)] * 3, [9, 2.5], True, id="averages of the first reports"),
        pytest.param([reports(1, 1)] * 3, [9], False, id="before its step"),
        pytest.param([reports(1, 1)] * 3, [1, 9, 9], False, id="not after its step"),
    ],
)
def test_median_stop(known: list[TrialResult], reported: list[float], stopped: bool) -> None:
    rule = MedianStop(min_trials_required=3, start_step=2).rule(known, LOSS)
    assert any([rule("loss", number, value) for number, value in enumerate(reported, 1)]) is stopped
