"""Learning curves: means and bands over the seeds, of the runs an analysis names."""

import pytest

from receipt_counter.report.history import History, Series
from receipt_counter.report.seed_curves import learning_curves, read_histories, seed_curves
from tests.report.fabricate import STEPS_PER_EPOCH, write_events
from tests.report.fabricate_study import fabricate_ablation, run_id

ACCURACY = "classification_accuracy"


def history(*values, steps_per_epoch=10):
    """What a run logged that was judged after each epoch."""
    steps = tuple(range(steps_per_epoch, steps_per_epoch * len(values) + 1, steps_per_epoch))
    return History({ACCURACY: Series(steps, values)}, epochs=steps)


BASELINE = {42: history(0.5, 0.7), 43: history(0.6, 0.9)}


def lines(drawn):
    """{name: trace} of the means."""
    return {trace.name: trace for trace in drawn.data if trace.name}


@pytest.mark.parametrize(
    ("seeds", "epochs", "means"),
    [
        pytest.param({42: history(0.2, 0.4), 43: history(0.4, 0.6)}, (1, 2), (0.3, 0.5), id="two seeds"),
        pytest.param({42: history(0.2, 0.4)}, (1, 2), (0.2, 0.4), id="one seed"),
        pytest.param({1: history(0.2, 0.4), 2: history(0.4)}, (1,), (0.3,), id="a seed that ended sooner"),
        pytest.param({42: history(0.2, 0.4, steps_per_epoch=3)}, (1, 2), (0.2, 0.4), id="another batch size"),
    ],
)
def test_a_line_is_the_mean_over_the_seeds_by_epoch(seeds, epochs, means):
    mean = lines(learning_curves("x", ACCURACY, {"varied": seeds}, BASELINE))["varied"]
    assert mean.x == epochs
    assert mean.y == pytest.approx(means)


def test_the_band_runs_from_the_lowest_seed_to_the_highest():
    drawn = learning_curves("x", ACCURACY, {"one_seed": {42: history(0.1, 0.2)}}, BASELINE)
    bands = [trace for trace in drawn.data if not trace.name]
    assert [trace.y for trace in bands] == [(0.5, 0.7), (0.6, 0.9)]
    assert [trace.legendgroup for trace in bands] == ["baseline"] * 2


@pytest.mark.parametrize(
    "histories",
    [pytest.param({}, id="no run"), pytest.param({42: History()}, id="nothing logged")],
)
def test_what_is_not_there_is_not_drawn(histories):
    assert set(lines(learning_curves("x", ACCURACY, {"varied": histories}, BASELINE))) == {"baseline"}
    assert not learning_curves("x", ACCURACY, {"varied": histories}, histories).data


def test_lines_differ_in_dash_and_not_only_in_colour():
    varied = {f"v{number}": BASELINE for number in range(4)}
    drawn = lines(learning_curves("x", ACCURACY, varied, BASELINE))
    assert len({trace.line.dash for trace in drawn.values()}) == len(drawn) == 5


def test_a_family_of_many_is_drawn_in_several_figures():
    analysis = fabricate_ablation()
    for variation in analysis["variations"].values():
        variation["family"] = "all"
    drawn = list(seed_curves(analysis, dict.fromkeys(("baseline", *analysis["variations"]), BASELINE)))
    names = [name for one in drawn for name in lines(one) if name != "baseline"]
    assert sorted(set(names)) == sorted(analysis["variations"])
    assert all(len(lines(one)) <= 5 for one in drawn)


def test_histories_are_of_the_runs_that_the_analysis_names(tmp_path):
    write_events(tmp_path / run_id("single_stage", 43) / "events", last_epoch=3)
    write_events(tmp_path / "somebody-elses" / "events", last_epoch=3)
    found = read_histories(fabricate_ablation(), tmp_path)
    assert {(name, seed) for name, by_seed in found.items() for seed in by_seed} == {("single_stage", 43)}
    assert found["single_stage"][43].epochs[0] == STEPS_PER_EPOCH
    assert next(iter(found)) == "baseline"
