"""Figures of a search show the trials they are given."""

import pytest

from receipt_counter.evaluation.wording import title
from receipt_counter.report import search_figures as figures
from receipt_counter.report.parallel_coordinates import parallel_coordinates
from receipt_counter.report.search_axes import label, metric_axis, parameter_axis
from tests.report.fabricate_search import FAILED, HIDDEN, NORM, RATE, SPACE, START, STOPPED, TRIALS, fabricate_search
from tests.report.fabricate_study import METRICS, PRIORITY

COMPARED = TRIALS - len(STOPPED) - len(FAILED)


@pytest.fixture(scope="module")
def analysis():
    return fabricate_search()


def named(drawn):
    """{name: trace}."""
    return {trace.name: trace for trace in drawn.data}


@pytest.mark.parametrize(
    ("space", "values", "places", "ticks"),
    [
        pytest.param({"values": [8, 16, 32]}, [32, 8], [1.0, 0.0], ["8", "16", "32"], id="listed: evenly"),
        pytest.param({"values": [True]}, [True], [0.0], ["true"], id="one value"),
        pytest.param({"values": [[64], [128, 64]]}, [[64]], [0.0], ["[64]", "[128, 64]"], id="lists"),
        pytest.param({"low": 1e-4, "high": 1e-2, "log": True}, [1e-3], [0.5], ["0.0001", "0.001", "0.01"], id="log"),
        pytest.param({"low": 1, "high": 9, "log": False}, [3], [0.25], ["1", "5", "9"], id="linear"),
    ],
)
def test_values_stand_on_their_parameters_scale(space, values, places, ticks):
    axis = parameter_axis(space, values)
    assert axis.places == pytest.approx(places)
    assert list(axis.ticks.values()) == ticks


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        pytest.param(["training.optimizer.weight_decay"], "optimizer<br><b>weight_decay</b>", id="last two parts"),
        pytest.param(["a.stage.start", "b.stage.start"], "a<br>stage<br><b>start</b>", id="all where unclear"),
        pytest.param(["seed"], "<b>seed</b>", id="no group"),
        pytest.param(["a.<b>"], "a<br><b>&lt;b&gt;</b>", id="markup"),
    ],
)
def test_labels(keys, text):
    assert label(keys[0], keys) == text


@pytest.mark.parametrize(
    ("metric", "values", "form"),
    [
        pytest.param("classification_accuracy", (0.5, 0.9), ".0%", id="share"),
        pytest.param("classification_accuracy", (0.91, 0.92), ".1%", id="shares close together"),
        pytest.param("val_total_loss", (1.5, 2.0), "~g", id="loss"),
        pytest.param("classification_accuracy", (0.5, 0.5), ".1%", id="all equal"),
    ],
)
def test_a_metrics_axis_holds_its_values(metric, values, form):
    axis = metric_axis(metric, values)
    assert axis["tickformat"] == form
    assert axis["range"][0] < min(values) <= max(values) < axis["range"][1]


def test_the_history_shows_every_trial_as_it_ended(analysis):
    drawn = named(figures.optimization_history(analysis))
    assert {name: len(trace.x) for name, trace in drawn.items() if name != "best so far"} == {
        "succeeded": COMPARED,
        "stopped early": len(STOPPED),
        "failed": len(FAILED),
    }
    assert list(drawn["failed"].x) == [number + 1 for number in FAILED]
    assert max(drawn["failed"].y) < min(drawn["succeeded"].y)
    assert list(drawn["best so far"].y) == sorted(drawn["best so far"].y)
    assert drawn["best so far"].y[-1] == analysis["best_configurations"]["objective"]["value"]
    assert len({trace.marker.symbol for name, trace in drawn.items() if name != "best so far"}) == 3


def test_the_goal_is_on_the_history(analysis):
    drawn = figures.optimization_history(analysis)
    assert drawn.layout.shapes[0].y0 == 0.92
    assert drawn.layout.yaxis.range[1] > 0.92
    objective = {**analysis["objective"], "goal": None}
    assert not figures.optimization_history({**analysis, "objective": objective}).layout.shapes


def test_importance_has_its_spread_and_the_bar_of_chance(analysis):
    found = analysis["parameter_importance"]
    bars, spread = figures.importance_bars(analysis).data
    assert [row[0] for row in bars.customdata] == list(found["parameters"])
    assert list(bars.x) == sorted(bars.x, reverse=True)
    first = found["parameters"][RATE.key]
    assert spread.x[:3] == (first["low"], first["high"], None)
    assert figures.importance_bars(analysis).layout.shapes[0].x0 == found["chance"]
    clear = [value > found["chance"] for value in bars.x]
    assert clear[0]
    assert len({colour for colour, is_clear in zip(bars.marker.color, clear, strict=True) if is_clear}) == 1
    assert bars.marker.color[0] != bars.marker.color[-1]


def test_parallel_coordinates_have_a_line_a_trial_through_every_axis(analysis):
    drawn = parallel_coordinates(analysis)
    lines = named(drawn)
    each = len(SPACE) + 2  # the parameters, the objective, and the pen lifted
    assert sum(len(trace.x) for trace in lines.values()) == COMPARED * each
    assert len(lines["the best trial"].x) == each
    assert len(lines["the best quarter"].x) == 4 * each
    best = analysis["best_configurations"]["objective"]
    assert all(best["trial"] in text for text in lines["the best trial"].customdata[:-1])
    assert lines["the best trial"].y[-2] == 1.0
    assert all(0 <= place <= 1 for trace in lines.values() for place in trace.y if place is not None)
    assert label(RATE.key, [RATE.key]) == drawn.layout.annotations[0].text


def test_less_is_better_where_it_is(analysis):
    objective = {**analysis["objective"], "maximise": False}
    lines = named(parallel_coordinates({**analysis, "objective": objective}))
    assert lines["the best trial"].y[-2] == 0.0


@pytest.mark.parametrize(
    ("parameter", "means", "order"),
    [
        pytest.param(NORM, 3, False, id="categories"),
        pytest.param(HIDDEN, 2, False, id="lists"),
        pytest.param(START, 3, True, id="listed numbers"),
        pytest.param(RATE, 3, True, id="thirds of a range"),
    ],
)
def test_sensitivity_has_every_trial_and_means_with_intervals(analysis, parameter, means, order):
    drawn = figures.sensitivity_curve(analysis, parameter.key)
    trials, mean = drawn.data
    assert len(trials.x) == COMPARED
    assert len(set(zip(trials.x, trials.y, strict=True))) == COMPARED
    curve = analysis["parameter_sensitivity"][parameter.key]["curve"]
    assert len(mean.y) == len(curve) == means
    highs = [point + more for point, more in zip(mean.y, mean.error_y.array, strict=True)]
    assert highs == pytest.approx([point["high"] for point in curve])
    assert drawn.layout.xaxis.title.text.startswith("Spearman ") == order
    assert all(end > 0 for end in mean.error_x.array) == (not parameter.values)


def test_the_heat_map_tells_numbers_from_categories(analysis):
    drawn = figures.correlation_heat_map(analysis)
    texts = {(note.y, note.x): note.text for note in drawn.layout.annotations}
    assert len(texts) == len(SPACE) * len(METRICS)
    keys = [parameter.key for parameter in SPACE]
    assert "η² " in texts[keys.index(NORM.key), 0]
    assert "η²" not in texts[keys.index(RATE.key), 0]
    weight = analysis["parameter_correlations"]["training.loss_weights.language"]["generation_bleu"]
    assert texts[2, 1] == f"<b>{weight['rho']:+.2f} *</b>"


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        pytest.param({"rho": 0.251, "p": 0.2}, "+0.25", id="rising"),
        pytest.param({"rho": -0.251, "p": 0.2}, "−0.25", id="falling has a true minus"),
        pytest.param({"rho": -0.001, "p": 0.9}, "+0.00", id="nothing has no minus"),
        pytest.param({"rho": -0.9, "p": 0.01}, "<b>−0.90 *</b>", id="clear"),
        pytest.param({"rho": None, "p": None}, "–", id="unknown"),
    ],
)
def test_the_cells_of_the_heat_map(analysis, cell, text):
    known = {"kind": "spearman", "rho": 1.0, "p": 0.2, "n": 9}
    correlations = {RATE.key: {METRICS[0]: known, METRICS[1]: {**known, **cell}}}
    drawn = figures.correlation_heat_map({**analysis, "parameter_correlations": correlations})
    assert drawn.layout.annotations[1].text == text


def test_the_front_is_numbered_as_in_its_table(analysis):
    drawn = named(figures.pareto_front(analysis, *PRIORITY[:2]))
    front = analysis["pareto_front"]
    assert len(front) > 1
    shown = dict(zip(drawn["best compromises"].text, drawn["best compromises"].x, strict=True))
    assert shown == {str(place): entry["values"][PRIORITY[0]] for place, entry in enumerate(front, 1)}
    assert len(drawn["the others"].x) == COMPARED - len(front)
    assert title(PRIORITY[1]) == figures.pareto_front(analysis, *PRIORITY[:2]).layout.yaxis.title.text


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(figures.optimization_history, id="history"),
        pytest.param(parallel_coordinates, id="parallel coordinates"),
        pytest.param(lambda a: figures.sensitivity_curve(a, RATE.key), id="sensitivity"),
        pytest.param(lambda a: figures.pareto_front(a, *PRIORITY[:2]), id="front"),
    ],
)
def test_no_trial_makes_an_empty_figure(analysis, draw):
    assert len(draw({**analysis, "optimization_history": [], "pareto_front": []}).data) == 0
