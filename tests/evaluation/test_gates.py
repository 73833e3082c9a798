"""Verdicts at, above and below each bound, in both directions, and how they look."""

import dataclasses

import pytest
from rich.console import Console

from receipt_counter.config.schema import Gate, Gates
from receipt_counter.evaluation.gates import format_gates, judge, overall_verdict
from receipt_counter.evaluation.wording import TITLES, format_interval, format_value


def figure(value, low=None, high=None):
    return {"value": value, "low": value if low is None else low, "high": value if high is None else high}


@pytest.mark.parametrize(
    ("name", "value", "verdict"),
    [
        pytest.param("classification_accuracy", 0.97, "target", id="higher is better: above the target"),
        pytest.param("classification_accuracy", 0.95, "target", id="exactly on the target"),
        pytest.param("classification_accuracy", 0.93, "minimum", id="between"),
        pytest.param("classification_accuracy", 0.90, "minimum", id="exactly on the minimum"),
        pytest.param("classification_accuracy", 0.8999, "failed", id="below"),
        pytest.param("seconds_per_image", 0.01, "target", id="lower is better: far below the target"),
        pytest.param("seconds_per_image", 2.0, "target", id="lower is better: exactly on the target"),
        pytest.param("seconds_per_image", 4.9, "minimum", id="lower is better: between"),
        pytest.param("model_gigabytes", 10.1, "failed", id="lower is better: above"),
    ],
)
def test_verdict(name, value, verdict):
    assert judge({name: figure(value)}, Gates())[name]["verdict"] == verdict


def test_every_gate_has_a_verdict_even_if_its_figure_was_not_measured():
    gates = judge({}, Gates())
    assert list(gates) == [field.name for field in dataclasses.fields(Gates)]
    assert {gate["verdict"] for gate in gates.values()} == {"unknown"}
    assert gates["answer_accuracy"]["value"] is None


def test_the_bounds_come_from_the_config():
    strict = dataclasses.replace(Gates(), answer_accuracy=Gate(0.999, 0.998))
    assert judge({"answer_accuracy": figure(0.99)}, strict)["answer_accuracy"]["verdict"] == "failed"


@pytest.mark.parametrize(
    ("verdicts", "overall"),
    [
        (["target", "target"], "target"),
        (["target", "minimum"], "minimum"),
        (["minimum", "unknown"], "unknown"),
        (["unknown", "failed", "target"], "failed"),
        ([], "unknown"),
    ],
)
def test_overall_verdict(verdicts, overall):
    assert overall_verdict({str(index): {"verdict": verdict} for index, verdict in enumerate(verdicts)}) == overall


def test_the_table_says_what_was_measured_and_what_was_asked():
    metrics = {
        "classification_accuracy": figure(0.987, 0.978, 0.993),
        "answer_accuracy": figure(0.87, 0.85, 0.89),
        "seconds_per_image": figure(0.0123, 0.0120, 0.0131),
    }
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(format_gates(judge(metrics, Gates())))
    lines = console.export_text().splitlines()
    row = {
        name: next(line for line in lines if title in line)
        for name, title in TITLES.items()
        if name in judge({}, Gates())
    }
    assert "98.7 %" in row["classification_accuracy"]
    assert "97.8–99.3 %" in row["classification_accuracy"]
    assert "✔ target" in row["classification_accuracy"]
    assert "● minimum" in row["answer_accuracy"]
    assert "≥ 90.0 %" in row["answer_accuracy"]
    assert "12.3 ms" in row["seconds_per_image"]
    assert "≤ 2 s" in row["seconds_per_image"]
    assert "? unknown" in row["model_gigabytes"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("classification_accuracy", 0.98765, "98.8 %"),
        ("generation_bleu", 0.98765, "0.988"),
        ("seconds_per_image", 0.0123, "12.3 ms"),
        ("seconds_per_image", 2.5, "2.5 s"),
        ("model_gigabytes", 0.00132, "1.32 MB"),
        ("model_gigabytes", 2.0, "2 GB"),
    ],
)
def test_values_are_written_with_their_unit(name, value, text):
    assert format_value(name, value) == text


@pytest.mark.parametrize(
    ("name", "low", "high", "text"),
    [
        ("answer_accuracy", 0.9, 0.95, "90.0–95.0 %"),
        ("generation_bleu", 0.9, 0.95, "0.900–0.950"),
        ("seconds_per_image", 0.9, 1.1, "900 ms – 1.1 s"),
        ("model_gigabytes", 0.5, 0.5, ""),
    ],
)
def test_intervals_name_the_unit_once(name, low, high, text):
    assert format_interval(name, figure(low, low, high)) == text
