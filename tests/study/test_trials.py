"""What became of a study's trials: failures with their last words, and what all of them cost."""

import pandas as pd
import pytest

from receipt_counter.storage.files import write_json
from receipt_counter.study.trials import cost, cost_sentences, failures, hours, read_trials

HEADER = "trial,status,variant,seed,seconds,message\n"


def write_study(directory, *lines):
    """A study's directory: trials.csv, and the record of t1."""
    directory.joinpath("trials.csv").write_text(HEADER + "".join(f"{line}\n" for line in lines))
    write_json(directory / "trials" / "t1" / "trial.json", {"log": ["a", "b"]})
    return directory


def test_failures_have_their_last_lines_and_what_they_tried(tmp_path):
    study = write_study(
        tmp_path,
        "t0,succeeded,baseline,42,10,",
        "t1,failed,single_stage,43,3,exit status 1",
        "t2,metrics-unavailable,baseline,44,9,",
    )
    trials = read_trials(study)
    found = failures(trials, trials[["variant", "seed"]].astype(object))
    assert found["counts"] == {"succeeded": 1, "failed": 1, "metrics-unavailable": 1}
    assert found["trials"] == [
        {
            "trial": "t1",
            "status": "failed",
            "parameters": {"variant": "single_stage", "seed": 43},
            "message": "exit status 1",
            "log": ["a", "b"],
        },
        {
            "trial": "t2",
            "status": "metrics-unavailable",
            "parameters": {"variant": "baseline", "seed": 44},
            "message": "",
            "log": [],
        },
    ]


def test_a_study_without_a_trial_has_no_table(tmp_path):
    assert read_trials(tmp_path) is None


def test_values_may_be_kept_as_they_are_written(tmp_path):
    study = write_study(tmp_path, "t0,succeeded,1e-5,42,10,")
    assert read_trials(study, ("variant",))["variant"].tolist() == ["1e-5"]


@pytest.mark.parametrize(
    ("trials", "devices", "spent", "saved"),
    [
        pytest.param([("succeeded", 60), ("failed", 6)], 1, 66, None, id="none stopped"),
        pytest.param([("succeeded", 60), ("early-stopped", 20), ("early-stopped", 50)], 1, 130, 50, id="two stopped"),
        pytest.param([("succeeded", 60), ("early-stopped", 20)], 4, 320, 160, id="four devices"),
        pytest.param([("succeeded", 10), ("early-stopped", 20)], 1, 30, 0, id="stopped after the usual time"),
        pytest.param([("succeeded", s) for s in (1, 10, 90)] + [("early-stopped", 4)], 1, 105, 6, id="the median"),
        pytest.param([("early-stopped", 20)], 1, 20, None, id="nothing to compare with"),
        pytest.param([("succeeded", None)], 1, 0, None, id="no time kept"),
        pytest.param([], 1, 0, None, id="no trial"),
    ],
)
def test_cost(trials, devices, spent, saved):
    found = cost(pd.DataFrame(trials, columns=["status", "seconds"]), devices)
    assert found["device_seconds"] == sum(found["by_status"].values()) == spent
    assert found["saved_by_early_stopping"] == saved


def test_a_cost_is_told_in_sentences():
    trials = pd.DataFrame(
        [("succeeded", 5400), ("early-stopped", 1800), ("failed", 36)], columns=["status", "seconds"]
    ).assign(trial="t")
    analysis = {"cost": cost(trials, 2), "failures": failures(trials, trials[[]])}
    assert cost_sentences(analysis) == [
        "The study spent 4 device-hours on its trials: 3 for 1 that succeeded, 1 for 1 stopped early, 0.02 for 1 that"
        " failed.",
        "Early stopping saved about 2 device-hours, had the stopped trials taken the usual time.",
    ]
    whole = trials[:1]
    assert cost_sentences({"cost": cost(whole, 2), "failures": failures(whole, whole[[]])}) == [
        "The study spent 3 device-hours on its trials, 1 that succeeded."
    ]
    assert cost_sentences({"cost": cost(trials[:0], 2), "failures": {"trials": [], "counts": {}}}) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        pytest.param(0, "0", id="nothing"),
        pytest.param(15.1, "0.0042", id="seconds"),
        pytest.param(4680, "1.3", id="more than one"),
        pytest.param(3600 * 99.7, "100", id="nearly a hundred"),
        pytest.param(3600 * 1234.4, "1,234", id="many"),
    ],
)
def test_hours(seconds, text):
    assert hours(seconds) == text
