"""Figures of a study show the effects they are given."""

import pytest

from receipt_counter.report import study_figures as figures
from tests.report.fabricate_study import METRICS, PRIORITY, SLICES, VARIATIONS, fabricate_ablation


@pytest.fixture
def analysis():
    return fabricate_ablation()


@pytest.mark.parametrize(
    ("share", "text"),
    [
        pytest.param(0.0123, "+1.2", id="gain"),
        pytest.param(-0.004, "−0.4", id="loss has a true minus"),
        pytest.param(-0.0001, "0.0", id="nothing has no sign"),
    ],
)
def test_points(share, text):
    assert figures.points(share) == text


def test_the_forest_has_every_variation_in_its_familys_rows(analysis):
    drawn = figures.effect_forest(analysis, "classification_accuracy")
    assert {trace.name for trace in drawn.data} == {"better", "worse", "undecided", "identical"}
    assert sum(len(trace.x) for trace in drawn.data) == len(VARIATIONS)
    assert sorted(place for trace in drawn.data for place in trace.y) == [1, 2, 3, 5, 6, 7, 9, 10, 12, 13]
    assert drawn.layout.yaxis.ticktext[4] == "<b>Architecture</b>"
    band = drawn.layout.shapes[0]
    assert (band.x0, band.x1) == pytest.approx((-1.3, 1.3))


def test_an_effect_beyond_the_axis_is_an_arrow_with_its_number(analysis):
    drawn = figures.effect_forest(analysis, "classification_accuracy")
    worse = next(trace for trace in drawn.data if trace.name == "worse")
    assert worse.marker.symbol[-1] == "triangle-left"
    assert worse.x[-1] == pytest.approx(0.94 * drawn.layout.xaxis.range[0])
    assert drawn.layout.annotations[0].text == "−61.0"
    assert worse.error_x.array[-1] == 0
    assert worse.error_x.array[0] == pytest.approx(1.2)


def test_verdicts_differ_in_shape_and_not_only_in_colour(analysis):
    drawn = figures.effect_forest(analysis, "generation_rouge1_f")
    shapes = {trace.name: trace.marker.symbol[0] for trace in drawn.data}
    assert len(set(shapes.values())) == len(shapes)


@pytest.mark.parametrize(
    ("draw", "rows"),
    [
        pytest.param(lambda a: figures.tornado(a, "generation_bleu"), len(VARIATIONS), id="tornado"),
        pytest.param(lambda a: figures.metric_bars(a, "answer_accuracy"), len(VARIATIONS) + 1, id="bars"),
        pytest.param(lambda a: figures.cost_bars(a, "device_seconds", "Time"), len(VARIATIONS), id="costs"),
    ],
)
def test_bars_have_a_row_each(analysis, draw, rows):
    (trace,) = draw(analysis).data
    assert len(trace.x) == len(trace.y) == rows


def test_the_largest_effect_is_on_top_of_the_tornado(analysis):
    (trace,) = figures.tornado(analysis, "generation_bleu").data
    assert trace.customdata[0] == "language_weight_0"
    assert trace.text[0] == "−83.0"
    assert [abs(value) for value in trace.x] == sorted((abs(value) for value in trace.x), reverse=True)


def test_a_variation_without_a_seed_stands_on_the_baseline_of_the_others(analysis):
    (trace,) = figures.metric_bars(analysis, "classification_accuracy").data
    named = {line[0]: value for line, value in zip(trace.customdata, trace.x, strict=True)}
    assert named["baseline"] == pytest.approx(0.942)
    assert named["late_transitions"] == pytest.approx(0.938 - 0.006)
    assert named["text_length_16"] == pytest.approx(0.942)


def test_the_radar_shows_the_baseline_and_three_that_differ_most(analysis):
    drawn = figures.radar(analysis)
    names = [trace.name for trace in drawn.data]
    assert names == ["baseline", "language_weight_0", "classification_weight_0", "frozen_vision_encoder"]
    assert all(len(trace.r) == len(METRICS) + 1 for trace in drawn.data)


def test_significant_slices_are_marked(analysis):
    drawn = figures.slice_heat_map(analysis, "classification_accuracy")
    texts = {(note.y, note.x): note.text for note in drawn.layout.annotations}
    assert len(texts) == len(VARIATIONS) * len(SLICES)
    names = list(VARIATIONS)
    assert texts[names.index("classification_weight_0"), 0] == "<b>−24.4 *</b>"
    assert texts[names.index("text_length_16"), 0] == "0.0"


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda a: figures.effect_forest(a, PRIORITY[0]), id="forest"),
        pytest.param(lambda a: figures.tornado(a, PRIORITY[0]), id="tornado"),
        pytest.param(figures.radar, id="radar"),
        pytest.param(lambda a: figures.slice_heat_map(a, PRIORITY[0]), id="slices"),
        pytest.param(lambda a: figures.cost_bars(a, "device_seconds", "Time"), id="costs"),
    ],
)
def test_nothing_to_draw_makes_an_empty_figure(analysis, draw):
    assert len(draw(analysis | {"ablation_analysis": {}, "variations": {}, "slices": {}}).data) == 0
