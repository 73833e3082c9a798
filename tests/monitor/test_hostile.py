"""A folder in which everything is wrong: each thing is shown as what it is, and nothing leaves the folder."""

from __future__ import annotations

import json
import os
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_FLOAT

from receipt_counter.monitor.monitor import Monitor
from tests.monitor.support import record, scalar, until, watching, write_events, write_record

SECRET = "TOP-SECRET"
MARKUP = "<img src=x onerror=alert(1)>"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join(9 * ['*' + old])}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
NESTED = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{new}: &{new} {{{', '.join(f'k{i}: *{old}' for i in range(9))}}}\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

MERGED = "a: &a {k: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{','.join(9 * ['*' + old])}]}}\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

Make = Callable[[Path, Path], Any]  # (directory of the run, a folder outside) -> None


def text(content: str) -> Make:
    """A run.json of this content."""
    return lambda run, outside: (run / "run.json").write_text(content, errors="surrogatepass")


def fields(**given: Any) -> Make:
    """A run.json with these fields."""
    return lambda run, outside: write_record(run, **given)


def with_config(content: str) -> Make:
    """A good run.json beside this config.yaml."""
    return lambda run, outside: (write_record(run), (run / "config.yaml").write_text(content))


def with_events(content: bytes) -> Make:
    """A good run.json beside this event file."""
    return lambda run, outside: (write_record(run), write_events(run, content))


def evaluated(name: str, content: str) -> Make:
    """A good run.json beside this file of the test split."""

    def make(run: Path, outside: Path) -> None:
        write_record(run, status="finished")
        directory = run / "evaluation" / "test"
        directory.mkdir(parents=True)
        (directory / "metrics.json").write_text('{"metrics": {}}')
        (directory / name).write_text(content)

    return make


def linked(inside: str, target: str) -> Make:
    """A good run.json and a link that leads out of the folder."""

    def make(run: Path, outside: Path) -> None:
        if inside != "run.json":
            write_record(run)
        (run / inside).parent.mkdir(parents=True, exist_ok=True)
        (run / inside).symlink_to(outside / target)

    return make


def pipe(name: str) -> Make:
    """A named pipe, which blocks whoever opens it."""
    return lambda run, outside: (
        write_record(run) if name != "run.json" else None,
        (run / name).parent.mkdir(exist_ok=True),
        os.mkfifo(run / name),
    )


def giant_tensor() -> bytes:
    """A record of a few bytes that says it holds a tensor of a billion billion numbers."""
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=10**18)])
    tensor = TensorProto(dtype=DT_FLOAT, tensor_shape=shape, float_val=[1.0])
    value = Summary.Value(tag="giant", tensor=tensor)
    return record(Event(wall_time=1.0, step=1, summary=Summary(value=[value])).SerializeToString())


# {directory's name: (what is in it, what the run is shown with)}
HOSTILE: dict[str, tuple[Make, str]] = {
    MARKUP: (fields(experiment_name=MARKUP), '"running"'),
    "a...": (fields(), '"running"'),
    "back\\slash": (fields(), '"running"'),
    "control \x1b[31m\n\r\t characters": (fields(experiment_name="\x00\x07"), '"running"'),
    "n" * 255: (fields(experiment_name="m" * 100_000), '"running"'),
    os.fsdecode(b"no utf-8 \xff\xfe"): (fields(), '"running"'),
    "right to left \u202e": (fields(), '"running"'),
    "a,comma and & ? # %": (fields(), '"running"'),
    "empty": (text(""), "is not valid JSON"),
    "no-json": (text("{'status': 1}"), "is not valid JSON"),
    "half": (text('{"status": "fini'), "is not valid JSON"),
    "a-list": (text("[1, 2]"), "holds a list"),
    "not-utf-8": (lambda run, outside: (run / "run.json").write_bytes(b'{"a": "\xff\xfe'), "is not valid JSON"),
    "deep": (text("[" * 100_000 + "]" * 100_000), "is not valid JSON"),
    "deep-object": (text('{"lineage":' * 500 + "1" + "}" * 500), "is not valid JSON"),
    "digits": (text('{"status": "finished", "seed": ' + "9" * 100_000 + "}"), "is not valid JSON"),
    "infinite": (text('{"status": "finished", "metrics": {"a": NaN, "b": Infinity, "c": 1e999}}'), '"finished"'),
    "lone-surrogate": (text('{"status": "failed", "error": {"message": "\\ud800"}}'), '"failed"'),
    "50-megabytes": (
        lambda run, outside: (write_record(run), os.truncate(run / "run.json", 50 << 20)),
        "52 MB",
    ),
    "wrong-types": (
        fields(
            status=["running"],
            metrics=[1],
            lineage="x",
            error=7,
            seed="x",
            started={},
            splits=3,
            device_seconds="long",
            step=1e300,
            epochs=True,
        ),
        '"unreadable"',
    ),
    "unknown-status": (fields(status="exploded"), "exploded"),
    "a-directory": (lambda run, outside: (run / "run.json").mkdir(), "cannot be read|regular file"),
    "a-pipe": (pipe("run.json"), "no regular file"),
    "record-outside": (linked("run.json", "run/run.json"), "leads out of the folder"),
    "far-future": (
        lambda run, outside: (
            write_record(run, status="running", started="9999-99-99"),
            os.utime(run / "run.json", (2**40, 2**40)),
        ),
        '"running"',
    ),
    "before-1970": (lambda run, outside: (write_record(run), os.utime(run / "run.json", (-1e9, -1e9))), '"stale"'),
    "yaml-bomb": (with_config(BOMB), "YAML aliases"),
    "yaml-bomb-of-mappings": (with_config(NESTED), "YAML aliases"),
    "yaml-bomb-of-merges": (with_config(MERGED), "YAML aliases"),
    "yaml-pairs": (with_config("a: &a [x, y]\nb: !!pairs [{k: *a}]"), '"value":"\u2026"'),
    "yaml-many-keys": (with_config("".join(f"k{n}: 1\n" for n in range(2001))), "more than 2000 keys"),
    "yaml-objects": (with_config("!!python/object/apply:os.system ['echo']"), "cannot be read"),
    "yaml-list": (with_config("- 1\n"), "holds a list"),
    "yaml-deep": (with_config("[" * 5000), "cannot be read"),
    "yaml-itself": (with_config("&a {b: *a}"), "more than 20 deep"),
    "yaml-dates": (with_config("a: 2020-01-01\nb: !!binary aGk=\nc: !!set {x}\nd: .nan"), '"running"'),
    "config-outside": (linked("config.yaml", "secret.txt"), "leads out of the folder"),
    "config-pipe": (pipe("config.yaml"), "no regular file"),
    "events-outside": (linked("events", "run/events"), '"points":0'),
    "event-file-outside": (linked("events/events.out.tfevents.1", "run/events/events.out.tfevents.1"), '"points":0'),
    "event-pipe": (pipe("events/events.out.tfevents.1"), '"points":0'),
    "event-garbage": (with_events(os.urandom(5000)), "corrupt record length"),
    "event-no-event": (with_events(record(b"\xff" * 50)), "1 corrupt record skipped"),
    "event-tags": (with_events(b"".join(scalar(f"tag {n}", 1, 1.0) for n in range(2500))), '"points":2000'),
    "event-long-tag": (with_events(scalar("t" * 10_000, 1, 1.0)), '"points":0'),
    "event-markup": (with_events(scalar(MARKUP, 1, 1.0)), "onerror"),
    "event-times": (
        with_events(scalar("loss", 1, 1.0, float("nan")) + scalar("loss", 2, 1.0, 1e300) + scalar("epoch", 2, 1e38)),
        '"points":3',
    ),
    "event-values": (
        with_events(scalar("stage", 1, float("nan")) + scalar("stage", 2**62, float("inf"))),
        '"points":2',
    ),
    "event-tensor": (with_events(giant_tensor() + scalar("loss", 1, 1.0)), '"points":1'),
    "metrics-number": (evaluated("metrics.json", '{"metrics": 5}'), '"finished"'),
    "metrics-nothings": (
        evaluated(
            "metrics.json",
            '{"per_class": {"0": null}, "answer_accuracy_by_type": {"a": 1}, "slices": {"s": {"a": null, "b": 5}}}',
        ),
        '"finished"',
    ),
    "metrics-list": (evaluated("metrics.json", "[]"), '"finished"'),
    "metrics-strange": (
        evaluated("metrics.json", '{"metrics": {"a": [1], "b": {"value": NaN}}, "gates": {"g": 1}, "slices": 5}'),
        '"finished"',
    ),
    "confusion-strange": (evaluated("confusion.json", '{"labels": 3, "matrix": "x"}'), '"finished"'),
    "predictions-strange": (
        evaluated("predictions.jsonl", 'null\n{}\n[1]\n{"id": 1}\nnonsense\n' + "[" * 100_000),
        '"finished"',
    ),
    "predictions-outside": (
        evaluated(
            "predictions.jsonl",
            json.dumps(
                {"id": "../../../../outside/secret.txt", "count": 1, "label": 1, "predicted": 9, "probabilities": [1]}
            ),
        ),
        '"finished"',
    ),
    "split-outside": (linked("evaluation/test", "run/evaluation/test"), '"running"'),
    "study-outside": (fields(status="failed", lineage={"study": "../..", "trial": "../outside"}), '"failed"'),
    "study-absolute": (fields(status="failed", lineage={"study": "/etc", "trial": "/etc"}), '"failed"'),
    "study-zero": (fields(status="failed", lineage={"study": "a\0b", "trial": "c"}), '"failed"'),
    "log-outside": (fields(status="failed", lineage={"study": "linked", "trial": "one"}), '"failed"'),
    "data-outside": (
        lambda run, outside: (
            write_record(run, lineage={"data_fingerprint": "same"}),
            (run / "config.yaml").write_text(f"data: {{path: {outside / 'data'}}}"),
        ),
        '"running"',
    ),
    "data-anywhere": (with_config("data: {path: /etc}"), '"running"'),
}
STUDIES: dict[str, dict[str, str]] = {
    "no-yaml": {"experiment.yaml": "{", "trials.csv": "trial,status\n\0\0\0"},
    MARKUP: {"experiment.yaml": "kind: Nonsense", "trials.csv": f"trial,status,loss\n{MARKUP},failed,nan\n"},
    "lists": {"experiment.yaml": "[]", "sweep.json": "[1]", "analysis.json": "[]"},
    "bomb": {"experiment.yaml": BOMB},
    "strange-analysis": {"experiment.yaml": "[]", "analysis.json": '{"kind": "ablation", "priority_metrics": 3}'},
    "giant": {"experiment.yaml": "x" * (5 << 20)},
}
QUESTIONS = ("", "/metrics", "/summary", "/confusion", "/slices", "/mistakes", "/log", "/images/test/x", "/images/../x")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("hostile")
    root, outside = place / "experiments", place / "outside"
    make_outside(outside)
    for name, (make, _) in HOSTILE.items():
        (root / "runs" / name).mkdir(parents=True)
        make(root / "runs" / name, outside)
    (root / "runs" / "a-link").symlink_to(outside / "run")
    (root / "runs" / "a-file").write_text("")
    for name, files in STUDIES.items():
        (root / "studies" / name).mkdir(parents=True)
        for file, content in files.items():
            (root / "studies" / name / file).write_text(content)
    trial = root / "studies" / "linked" / "trials" / "one"
    trial.mkdir(parents=True)
    (trial / "stdout.log").symlink_to(outside / "secret.txt")
    return root


def make_outside(outside: Path) -> None:
    """What must not be seen: a secret, a whole run, and a dataset that names files beyond itself."""
    write_record(outside / "run", experiment_name=SECRET, metrics={SECRET: 1})
    write_events(outside / "run", scalar(SECRET, 1, 1.0)).rename(outside / "run" / "events" / "events.out.tfevents.1")
    judged = outside / "run" / "evaluation" / "test"
    judged.mkdir(parents=True)
    (judged / "metrics.json").write_text(json.dumps({"metrics": {SECRET: 1}}))
    (outside / "secret.txt").write_text(f"\xff\xd8\xff {SECRET}", encoding="latin-1")  # even if it says it is a JPEG
    data = outside / "data"
    data.mkdir()
    (data / "dataset.json").write_text(json.dumps({"fingerprint": "same"}))
    (data / "test.jsonl").write_text(json.dumps({"id": "x", "image": "../secret.txt"}) + "\n")


@pytest.fixture(scope="module")
def watched(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Monitor, TestClient]]:
    with watching(folder, tmp_path_factory.mktemp("cache")) as found:
        until(lambda: len(found[0].studies) == len(STUDIES))
        yield found


def ask(client: TestClient, path: str) -> Any:
    """JSON as strict as browsers take it; None where there is no such thing."""
    answer = client.get(path)
    assert answer.status_code in (200, 404), answer.text
    assert SECRET not in answer.text
    if answer.headers["content-type"] != "application/json":
        return None

    def refuse(name: str) -> None:
        raise AssertionError(f"{path}: {name} is no JSON")

    return json.loads(answer.text, parse_constant=refuse)


def identity(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


@pytest.mark.parametrize("name", HOSTILE, ids=[repr(name[:30]) for name in HOSTILE])
def test_a_run_is_shown_as_what_it_is(watched: tuple[Monitor, TestClient], name: str) -> None:
    _, client = watched
    address = f"/api/experiments/{urllib.parse.quote(identity(name), safe='')}"
    for question in QUESTIONS:
        ask(client, address + question)
    shown = client.get(address)
    assert shown.json()["id"] == identity(name)
    assert any(words in shown.text for words in HOSTILE[name][1].split("|")), shown.text[:2000]


def test_times_are_those_that_browsers_know(watched: tuple[Monitor, TestClient]) -> None:
    tags = ask(watched[1], "/api/experiments/event-times/metrics")["tags"]
    assert [abs(time) < 8.64e12 for series in tags.values() for time in series["time"]] == [True] * 3


def test_what_is_no_figure_is_left_out(watched: tuple[Monitor, TestClient]) -> None:
    address = "/api/experiments/metrics-nothings"
    found = ask(watched[1], f"{address}/summary")["splits"]["test"]
    assert found["per_class"] == found["answer_accuracy_by_type"] == {}
    assert ask(watched[1], f"{address}/slices")["slices"] == {"s": {}}


def test_a_run_that_is_a_link_is_not_followed(watched: tuple[Monitor, TestClient]) -> None:
    _, client = watched
    assert "is not followed" in ask(client, "/api/experiments/a-link")["error"]


def test_the_whole_folder_is_listed_compared_and_reported(watched: tuple[Monitor, TestClient]) -> None:
    monitor, client = watched
    listed = ask(client, "/api/experiments")["experiments"]
    assert {one["id"] for one in listed} == {*map(identity, HOSTILE), "a-link"}
    assert monitor.problem is None
    for sort in ("status", "name", "started", "objective", "nonsense", MARKUP):
        assert len(ask(client, f"/api/experiments?order=desc&sort={urllib.parse.quote(sort)}")["experiments"]) == len(
            listed
        )
    ids = ",".join(urllib.parse.quote(one["id"].replace(",", "%2C"), safe="") for one in listed)
    compared = ask(client, f"/api/compare?ids={ids}&tags=loss,stage,epoch")
    assert {one["id"] for one in compared["experiments"]} == {one["id"] for one in listed}
    assert set(ask(client, "/api/report")["experiments"]) == {one["id"] for one in listed}
    assert ask(client, "/healthz")["status"] == "ok"


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_is_shown_as_what_it_is(watched: tuple[Monitor, TestClient], name: str) -> None:
    _, client = watched
    address = f"/api/studies/{urllib.parse.quote(name, safe='')}"
    until(lambda: ask(client, address)["analysis_state"] != "computing", 60)
    detail = ask(client, address)
    assert detail["analysis_state"] == "final" or detail["analysis_problem"]
    ask(client, f"{address}/figures")


@pytest.mark.parametrize(
    "path",
    [
        "/api/experiments/..",
        "/api/experiments/%2e%2e",
        "/api/experiments/..%2f..%2fetc%2fpasswd",
        "/api/experiments/a%00b",
        "/api/experiments/" + "x" * 5000,
        "/api/studies/..%2f..",
        "/api/experiments/data-outside/images/test/x",
        "/api/experiments/data-outside/images/test/..%2f..%2fsecret.txt",
        "/api/experiments/data-outside/images/..%2f../secret.txt",
        "/api/experiments/predictions-outside/images/test/..%2F..%2F..%2F..%2Foutside%2Fsecret.txt?size=thumbnail",
        "/../../etc/passwd",
        "/static/../../../etc/passwd",
    ],
)
def test_addresses_lead_nowhere_else(watched: tuple[Monitor, TestClient], path: str) -> None:
    answer = watched[1].get(path)
    assert answer.status_code == 404
    assert SECRET not in answer.text
    assert "root:" not in answer.text


def test_nothing_was_written_into_the_folder(watched: tuple[Monitor, TestClient], folder: Path) -> None:
    names = {path.name for path in (folder / "runs").iterdir()}
    assert names == {*HOSTILE, "a-link", "a-file"}
    assert not list(folder.rglob("*.lock")) + list(folder.rglob(".lock"))
