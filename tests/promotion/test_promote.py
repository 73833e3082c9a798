"""What is promoted, what is refused and with which words, through the command line in this process."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from receipt_counter.cli.main import main
from receipt_counter.promotion.decision import QUALITY
from receipt_counter.storage.files import read_json, write_json
from receipt_counter.storage.manifest import verify
from receipt_counter.storage.registry import Registry
from receipt_counter.storage.store import Store
from tests.promotion.fabricate import FINGERPRINT, Lines, fabricate_run, predictions, rows_of

FORK = multiprocessing.get_context("fork")
Say = Callable[..., tuple[int, list[str], str]]
CURRENT = predictions(wrong=range(0, 12), misspoken=range(20))  # counting 94 %, answers 90 %
BETTER = predictions(wrong=range(1))
HEAVY = rows_of("overlap", "heavy")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def say(store: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Call the command line: (status, the lines of its last paragraph, stderr)."""

    def call(*arguments: str) -> tuple[int, list[str], str]:
        status = main([*arguments, "--store", str(store)])
        said = capsys.readouterr()
        return status, said.out.split("\n\n")[-1].splitlines(), said.err

    return call


def registry(store: Path) -> Path:
    return store / "models" / "receipt-counter"


def everything(directory: Path) -> dict[str, int]:
    return {str(path.relative_to(directory)): path.stat().st_mtime_ns for path in directory.rglob("*")}


def without_answers(lines: Lines) -> Lines:
    return [{**line, "answers": [], "nll": 0.0, "answer_tokens": 0} for line in lines]


def test_versions_follow_each_other(store: Path, say: Say) -> None:
    fabricate_run(store, "aaa111", CURRENT)
    run = fabricate_run(store, "bbb222", BETTER)
    first, second = registry(store) / "1", registry(store) / "2"
    assert say("promote", "aaa") == (
        0,
        ["promoted: run aaa111 is receipt-counter/1 now, the current version", f"card    {first / 'card.md'}"],
        "",
    )
    assert say("promote", "bbb")[:2] == (
        0,
        ["promoted: run bbb222 is receipt-counter/2 now, the current version", f"card    {second / 'card.md'}"],
    )
    assert (registry(store) / "CURRENT").read_text() == "2\n"
    assert verify(first) is None
    assert verify(second) is None
    for name in ("config.yaml", "run.json", "model/model.safetensors", "evaluation/test/predictions.jsonl"):
        assert (second / name).read_bytes() == (run / name).read_bytes()


def test_the_card_says_what_it_is_how_good_better_than_what_and_from_where(store: Path, say: Say) -> None:
    fabricate_run(store, "aaa111", CURRENT)
    fabricate_run(store, "bbb222", BETTER)
    say("promote", "aaa")
    say("promote", "bbb")
    card = read_json(registry(store) / "2" / "card.json")
    assert card["gates"]["classification_accuracy"]["value"] == pytest.approx(0.995)
    assert {gate["verdict"] for gate in card["gates"].values()} == {"target"}
    assert card["lineage"]["run_id"] == "bbb222"
    assert card["lineage"]["data_fingerprint"] == FINGERPRINT
    compared = card["comparison"]
    assert (compared["version"], compared["run_id"], compared["judged_again"]) == (1, "aaa111", False)
    assert set(compared["metrics"]) == set(QUALITY)
    counting = compared["metrics"]["classification_accuracy"]
    assert (counting["verdict"], counting["effect"]) == ("better", pytest.approx(0.055))
    assert counting["p_holm"] < 0.05
    page = (registry(store) / "2" / "card.md").read_text()
    for part in (
        "# receipt-counter/2\n",
        "Judged on 200 images with 400 questions it was not trained on. Better than receipt-counter/1",
        "| Counting accuracy | 99.5 % |",
        "| ≥ 95.0 % | ≥ 90.0 % | target |",
        "## Compared with receipt-counter/1, on the same images",
        "| Counting accuracy | +5.5 |",
        "- run: bbb222\n",
        f"- data: rendered ({FINGERPRINT})\n",
        "| overlap=heavy | 61 |",
    ):
        assert part in page
    first = registry(store) / "1"
    assert read_json(first / "card.json")["comparison"] is None
    assert "The first version." in (first / "card.md").read_text()


REFUSALS: dict[str, tuple[Lines, tuple[str, ...], list[str]]] = {
    "a gate": (
        predictions(wrong=range(30)),
        (),
        ["counting accuracy: 85.0 % is below the minimum 90.0 % (target 95.0 %)"],
    ),
    "several gates": (
        predictions(misspoken=range(90)),
        (),
        [
            "exact answers: 55.0 % is below the minimum 85.0 % (target 90.0 %)",
            "BLEU: 0.587 is below the minimum 0.600 (target 0.700)",
            "ROUGE-L: 0.578 is below the minimum 0.650 (target 0.750)",
        ],
    ),
    "a gate where less is better": (
        BETTER,
        ("gates.model_gigabytes.minimum=0.001", "gates.model_gigabytes.target=0.0005"),
        ["model size: 1.3 MB is above the maximum 1 MB (target 0.5 MB)"],
    ),
    "a gate missed by less than a rounding": (
        predictions(wrong=range(20)),
        ("gates.classification_accuracy.minimum=0.9001",),
        ["counting accuracy: 0.9 is below the minimum 0.9001 (target 95.0 %)"],
    ),
    "figures that were not measured": (
        without_answers(BETTER),
        (),
        [
            "exact answers: not measured (minimum 85.0 %, target 90.0 %)",
            "BLEU: not measured (minimum 0.600, target 0.700)",
            "ROUGE-L: not measured (minimum 0.650, target 0.750)",
        ],
    ),
}


@pytest.mark.parametrize(("lines", "overrides", "reasons"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_first_version_needs_the_gates(
    store: Path, say: Say, lines: Lines, overrides: tuple[str, ...], reasons: list[str]
) -> None:
    fabricate_run(store, "aaa111", lines, overrides=overrides)
    assert say("promote", "aaa") == (1, ["not promoted: run aaa111", *(f"- {reason}" for reason in reasons)], "")
    assert not (store / "models").exists()


WORSE: dict[str, tuple[Lines, list[str]]] = {
    "the same answers": (CURRENT, ["not better than receipt-counter/1: no difference on any image"]),
    "a little better": (
        predictions(wrong=range(0, 11), misspoken=range(20)),
        [
            "not significantly better than receipt-counter/1: counting accuracy +0.5 points (95 % interval -0.5 to"
            " +1.5, Holm p = 1.000); exact answers the same; BLEU the same; ROUGE-L the same"
        ],
    ),
    "better in answers, worse in counting": (
        predictions(wrong=[*range(0, 12), *range(50, 58)]),
        [
            "counting accuracy: significantly worse than receipt-counter/1: -4.0 points (95 % interval -6.7 to -1.3,"
            " Holm p = 0.008)",
        ],
    ),
    "better over all, worse in a slice": (
        predictions(wrong=HEAVY[-20:]),
        [
            "counting accuracy where overlap=heavy (61 images): significantly worse than receipt-counter/1: -24.6"
            " points (95 % interval -39.9 to -9.3, Holm p = 0.021)",
        ],
    ),
    "below a gate and worse": (
        predictions(wrong=range(30), misspoken=range(20)),
        [
            "counting accuracy: 85.0 % is below the minimum 90.0 % (target 95.0 %)",
            "counting accuracy: significantly worse than receipt-counter/1: -9.0 points (95 % interval -13.0 to -5.0,"
            " Holm p < 0.001)",
            "counting accuracy where overlap=none (65 images): significantly worse than receipt-counter/1: -15.4 points"
            " (95 % interval -24.4 to -6.4, Holm p = 0.020)",
        ],
    ),
}


@pytest.mark.parametrize(("lines", "reasons"), WORSE.values(), ids=WORSE.keys())
def test_a_later_version_has_to_be_better(store: Path, say: Say, lines: Lines, reasons: list[str]) -> None:
    fabricate_run(store, "aaa111", CURRENT)
    assert say("promote", "aaa")[0] == 0
    before = everything(store / "models")
    fabricate_run(store, "bbb222", lines)
    assert say("promote", "bbb") == (1, ["not promoted: run bbb222", *(f"- {reason}" for reason in reasons)], "")
    assert everything(store / "models") == before


def test_worse_in_a_small_slice_does_not_count(store: Path, say: Say) -> None:
    """46 images show a single receipt; 20 of them have become wrong, in a better model all the same."""
    fabricate_run(store, "aaa111", CURRENT)
    fabricate_run(store, "bbb222", predictions(wrong=[row for row in rows_of("layout", "single") if row > 12][:20]))
    assert say("promote", "aaa")[0] == 0
    assert say("promote", "bbb")[0] == 0


def relabel(store: Path) -> None:
    file = store / "runs" / "bbb222" / "evaluation" / "test" / "confusion.json"
    write_json(file, {**read_json(file), "labels": ["0", "1", "2", "3+"]})


def other_data(record: dict[str, Any]) -> None:
    record["lineage"].update(data_fingerprint="0123456789abcdef", data_name="harder")


def test_runs_that_cannot_be_compared_are_refused(store: Path, say: Say) -> None:
    fabricate_run(store, "aaa111", CURRENT)
    say("promote", "aaa")
    fabricate_run(store, "bbb222", BETTER)
    relabel(store)
    assert say("promote", "bbb")[:2] == (
        1,
        [
            "not promoted: run bbb222",
            "- cannot be compared with receipt-counter/1: the run counts in the classes 0, 1, 2, 3+ and it in 0, 1, 2+;"
            " use another name",
        ],
    )
    fabricate_run(store, "ccc333", BETTER, change=other_data)
    assert say("promote", "ccc")[:2] == (
        1,
        [
            "not promoted: run ccc333",
            "- cannot be compared with receipt-counter/1: it was judged on other images and has to be judged again, but"
            f" the run's dataset harder (fingerprint 0123456789abcdef) is not in {store / 'datasets'}",
        ],
    )


def test_promoting_the_current_run_again_does_nothing(store: Path, say: Say) -> None:
    fabricate_run(store, "aaa111", CURRENT)
    say("promote", "aaa")
    before = everything(store)
    status, said, _ = say("promote", "aaa")
    assert (status, said[0]) == (0, "nothing to do: run aaa111 is receipt-counter/1 already, the current version")
    assert everything(store) == before


def test_a_dry_run_writes_nothing(store: Path, say: Say) -> None:
    fabricate_run(store, "aaa111", CURRENT)
    fabricate_run(store, "bbb222", BETTER)
    fabricate_run(store, "ccc333", predictions(wrong=range(30)))
    assert say("promote", "aaa", "--dry-run")[:2] == (0, ["run aaa111 passes the gates; it would be the first version"])
    assert not (store / "models").exists()
    say("promote", "aaa")
    before = everything(store)
    sentence = "run bbb222 passes the gates; it is better than receipt-counter/1 and would replace it"
    assert say("promote", "bbb", "--dry-run")[:2] == (0, [sentence])
    assert say("promote", "ccc", "--dry-run")[0] == 1
    assert everything(store) == before


def test_models_of_other_names_do_not_know_each_other(store: Path, say: Say) -> None:
    fabricate_run(store, "aaa111", BETTER)
    fabricate_run(store, "bbb222", CURRENT)
    assert say("promote", "aaa")[0] == 0
    assert say("promote", "bbb", "--name", "real")[0] == 0
    status, listed, _ = say("models")
    found = [[cell.strip() for cell in line.split("│")[1:-1]] for line in listed if "│" in line]
    assert status == 0
    assert [(model, mark, figure, run) for model, mark, _, figure, run in found] == [
        ("real/1", "current", "94.0 %", "bbb222"),
        ("receipt-counter/1", "current", "99.5 %", "aaa111"),
    ]


def test_nothing_is_listed_before_the_first_promotion(store: Path, say: Say) -> None:
    said = f"no model has been promoted in {store} yet: `receipt-counter promote RUN` does it"
    assert say("models") == (0, [said], "")


def test_machines_get_json(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run_id, lines in (("aaa111", CURRENT), ("bbb222", BETTER), ("ccc333", CURRENT)):
        fabricate_run(store, run_id, lines)
    found = []
    for run_id in ("aaa111", "bbb222", "bbb222", "ccc333"):
        status = main(["promote", run_id, "--json", "--store", str(store)])
        found.append((status, json.loads(capsys.readouterr().out)))
    told = [(status, one["outcome"], one["version"], len(one["reasons"])) for status, one in found]
    assert told == [(0, "promoted", 1, 0), (0, "promoted", 2, 0), (0, "unchanged", 2, 0), (1, "refused", None, 4)]
    assert found[1][1]["comparison"]["metrics"]["classification_accuracy"]["verdict"] == "better"


def test_promotions_at_the_same_time_are_decided_one_after_the_other(store: Path) -> None:
    """Every process finds an empty registry; who comes second has to be better than who came first."""
    fabricate_run(store, "aaa111", CURRENT)
    fabricate_run(store, "bbb222", BETTER)
    start = FORK.Barrier(6)

    def compete(run_id: str) -> None:
        start.wait()
        os._exit(main(["promote", run_id, "--json", "--store", str(store)]))

    children = [FORK.Process(target=compete, args=(run_id,)) for run_id in ("aaa111", "bbb222") * 3]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    versions = Registry(Store(store)).versions()
    assert [child.exitcode for child in children if child.exitcode not in (0, 1)] == []
    assert [version.run_id for version in versions] in (["aaa111", "bbb222"], ["bbb222"])
    assert [(version.card["comparison"] or {}).get("version") for version in versions] == [None, 1][: len(versions)]
    assert Registry(Store(store)).current() == versions[-1]


def unfinished(record: dict[str, Any]) -> None:
    record["status"] = "interrupted"


MISTAKES: dict[str, tuple[tuple[str, ...], Any, str]] = {
    "not finished": (
        (),
        unfinished,
        "{run}: this run is interrupted, and only a finished one is promoted; the command that started it continues it",
    ),
    "not judged": (
        (),
        "evaluation/test/metrics.json",
        "{run}: this run was not judged on the test split yet; `receipt-counter run --mode single` with its config and"
        " seed does that, and trains nothing again",
    ),
    "no model": (
        (),
        "model/model.safetensors",
        "{run}: the model of this run was removed, so there is nothing to promote",
    ),
    "no name": (
        ("--name", "../x"),
        None,
        "model name '../x': letters, digits, '.', '_' and '-' only, for example receipt-counter",
    ),
}


@pytest.mark.parametrize(("options", "spoil", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_what_is_not_ready_is_a_mistake(
    store: Path, say: Say, options: tuple[str, ...], spoil: Any, message: str
) -> None:
    run = fabricate_run(store, "aaa111", change=spoil if callable(spoil) else lambda record: None)
    if isinstance(spoil, str):
        (run / spoil).unlink()
    status, _, error = say("promote", "aaa", *options)
    assert status == 2
    assert message.format(run=run) in error
    assert not (store / "models").exists()
