"""Figures show the numbers they are given, and training's curves its stages."""

import time

import pytest
from torch.utils.tensorboard import SummaryWriter

from receipt_counter.evaluation.evaluate import judge_predictions
from receipt_counter.report import curves, figures
from receipt_counter.report.history import History, Series, StageSpan, read_history
from tests.evaluation.fabricate import fabricate_predictions
from tests.report.fabricate import CONFIG, EPOCHS, STEPS_PER_EPOCH, write_events


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    directory = tmp_path_factory.mktemp("events")
    write_events(directory)
    return read_history(directory)


@pytest.fixture(scope="module")
def judged():
    return judge_predictions(fabricate_predictions(200), CONFIG, 0.1)


def test_history_knows_stages_and_epochs(history):
    assert [span.number for span in history.stages] == [1, 2, 3]
    # the stage changes with the epoch, not at the first step logged afterwards
    assert history.stages[0].end == history.stages[1].start == 64
    assert history.stages[1].end == history.stages[2].start == 5 * STEPS_PER_EPOCH
    assert history.epochs[:3] == (64, 128, 192)
    assert len(history.epochs) == EPOCHS


def test_a_step_logged_twice_counts_once_and_the_later_value_wins(tmp_path):
    for values in ([3.0, 2.0, 1.0], [9.0, 8.0]):
        with SummaryWriter(str(tmp_path)) as writer:
            for step, value in enumerate(values, start=4 - len(values)):
                writer.add_scalar("train_total_loss", value, step)
        time.sleep(1.1)  # event files are ordered by the second in their names
    series = read_history(tmp_path).series["train_total_loss"]
    assert series.steps == (1, 2, 3)
    assert series.values == (3.0, 9.0, 8.0)


def test_no_events_is_an_empty_history(tmp_path):
    assert read_history(tmp_path) == read_history(tmp_path / "missing") == History()
    assert len(curves.loss_curves(History()).data) == 0


@pytest.mark.parametrize(
    ("draw", "names"),
    [
        (curves.loss_curves, {"train", "train, counting", "train, answers", "val", "val, counting", "val, answers"}),
        (curves.accuracy_curves, {"Counting accuracy", "Counting F1 (macro)", "Exact answers"}),
        (curves.learning_rate_curves, {"vision", "projector", "language", "cross attention", "head"}),
    ],
)
def test_curves_show_every_series_and_mark_the_stages(history, draw, names):
    drawn = draw(history)
    assert {trace.name for trace in drawn.data} == names
    assert [note.text for note in drawn.layout.annotations] == ["1", "stage 2", "stage 3"]
    boundaries = [shape.x0 for shape in drawn.layout.shapes if shape.type == "line" and shape.layer == "above"]
    assert boundaries == [64, 320]


def test_all_bleu_orders_and_rouge_kinds_are_drawn(history):
    assert {trace.name for trace in curves.text_curves(history).data} == {
        *(f"BLEU-{order}" for order in (1, 2, 3, 4)),
        *(f"ROUGE-{kind}" for kind in ("1", "2", "L")),
    }


def test_a_long_run_is_thinned():
    steps = tuple(range(1, 100_001))
    long = History({"train_total_loss": Series(steps, (1.0,) * 100_000)}, (StageSpan(1, 0, 100_000),), ())
    assert len(curves.loss_curves(long).data[0].x) == 2000


def test_confusion_matrix_holds_every_count():
    drawn = figures.confusion_matrix({"labels": ["0", "1", "2+"], "matrix": [[5, 1, 0], [0, 7, 2], [0, 0, 0]]})
    texts = {(note.y, note.x): note.text for note in drawn.layout.annotations}
    assert texts["0", "1"] == "<b>1</b><br>16.7 %"
    assert texts["1", "1"] == "<b>7</b><br>77.8 %"
    assert texts["2+", "0"] == "<b>0</b>"
    assert drawn.layout.yaxis.autorange == "reversed"


def test_reliability_diagram_leaves_empty_bins_out(judged):
    drawn = figures.reliability_diagram(judged["calibration"])
    points = drawn.data[1]
    assert len(points.x) == sum(bin_["n"] > 0 for bin_ in judged["calibration"])
    assert sum(drawn.data[2].y) == 200


def test_dots_carry_their_intervals(judged):
    by_type = judged["answer_accuracy_by_type"]
    drawn = figures.question_types(by_type)
    (trace,) = drawn.data
    for place, entry in enumerate(by_type.values()):
        assert trace.x[place] == entry["value"]
        assert trace.x[place] + trace.error_x.array[place] == pytest.approx(entry["high"])
        assert trace.x[place] - trace.error_x.arrayminus[place] == pytest.approx(entry["low"])


def test_the_forest_has_a_row_for_each_value_of_each_slice(judged):
    drawn = figures.slice_forest(judged["slices"], "answer_accuracy", judged["metrics"]["answer_accuracy"])
    rows = [(key, value) for key, values in judged["slices"].items() for value in values]
    assert len(drawn.data[0].x) == len(drawn.layout.yaxis.ticktext) == len(rows)
    for (key, value), text in zip(rows, drawn.layout.yaxis.ticktext, strict=True):
        assert text.startswith(f"{key}: {value} ")
        assert f"{judged['slices'][key][value]['n']} images" in text


def test_a_class_without_scores_has_no_dot():
    per_class = judge_predictions(
        [line for line in fabricate_predictions(60, skill=1.0) if line["label"] < 2], CONFIG, 0.1
    )["per_class"]
    drawn = figures.class_scores(per_class)
    assert [len(trace.x) for trace in drawn.data] == [2, 2, 2]
    assert len(drawn.layout.yaxis.ticktext) == 3


def test_nothing_to_draw_makes_an_empty_figure():
    assert len(figures.question_types({}).data) == 0
    assert len(figures.slice_forest({}, "answer_accuracy", {"value": 1.0, "low": 1.0, "high": 1.0}).data) == 0
