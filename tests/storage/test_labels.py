"""What TensorBoard calls runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from receipt_counter.storage.files import write_json
from receipt_counter.storage.labels import LABEL, SEARCH, STUDY, label_events, labelled_runs, link_runs


def run(runs: Path, identity: str, labels: dict[str, str], monkeypatch: pytest.MonkeyPatch, age: int = 0) -> Path:
    events = runs / identity / "events"
    events.mkdir(parents=True)
    for study, label in labels.items():
        monkeypatch.setenv(STUDY, study)
        monkeypatch.setenv(LABEL, label)
        label_events(events)
    os.utime(events, (1e9 - age, 1e9 - age))
    return events


def test_runs_are_called_by_what_their_studies_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs"
    baseline = run(runs, "aaaaaaaa", {"one": "baseline-seed1", "two": "lr=1-seed1"}, monkeypatch)
    older = run(runs, "bbbbbbbb", {"one": "baseline-seed1"}, monkeypatch, age=5)
    other = run(runs, "cccccccc", {"two": "a/b-seed1"}, monkeypatch)
    single = run(runs, "dddddddd", {}, monkeypatch)
    write_json(single.parent / "run.json", {"experiment_name": "laptop", "seed": 42})
    unknown = run(runs, "eeeeeeee", {}, monkeypatch)
    assert labelled_runs(runs, "one") == {"baseline-seed1": baseline, "baseline-seed1 bbbbbb": older}
    assert labelled_runs(runs, "two") == {"lr=1-seed1": baseline, "a_b-seed1": other}
    assert labelled_runs(runs) == {
        "one/baseline-seed1": baseline,
        "one/baseline-seed1 bbbbbb": older,
        "two/lr=1-seed1": baseline,
        "two/a_b-seed1": other,
        "laptop-seed42 dddddd": single,
        "eeeeee": unknown,
    }
    assert labelled_runs(tmp_path / "nowhere") == {}


def test_a_confirmation_is_shown_with_its_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs"
    trial = run(runs, "aaaaaaaa", {"search": "lr=1-seed1"}, monkeypatch)
    monkeypatch.setenv(SEARCH, "search")
    again = run(runs, "bbbbbbbb", {"confirm": "winner-seed7"}, monkeypatch)
    assert labelled_runs(runs, "search") == {"lr=1-seed1": trial, "confirmation-winner-seed7": again}
    assert labelled_runs(runs, "confirm") == {"winner-seed7": again}


@pytest.mark.parametrize("missing", [STUDY, LABEL])
def test_a_run_of_no_study_has_no_label(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STUDY, "study")
    monkeypatch.setenv(LABEL, "label")
    monkeypatch.delenv(missing)
    assert label_events(tmp_path) == list(tmp_path.iterdir()) == []


def test_links_follow_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, links = tmp_path / "runs", tmp_path / "links"
    first = run(runs, "aaaaaaaa", {"one": "baseline-seed1"}, monkeypatch)
    assert link_runs(runs, links, "one") == 1
    (link,) = links.iterdir()
    kept = link.lstat().st_ino
    newer = run(runs, "bbbbbbbb", {"one": "short-seed1"}, monkeypatch)
    assert link_runs(runs, links, "one") == 2
    assert {path.name: path.resolve() for path in links.iterdir()} == {"baseline-seed1": first, "short-seed1": newer}
    assert link.lstat().st_ino == kept
    (newer / "one.label").write_text("long-seed1")
    link_runs(runs, links, "one")
    assert {path.name for path in links.iterdir()} == {"baseline-seed1", "long-seed1"}
    link_runs(runs, links)
    assert {str(path.relative_to(links)) for path in links.glob("*/*")} >= {"one/baseline-seed1", "one/long-seed1"}
