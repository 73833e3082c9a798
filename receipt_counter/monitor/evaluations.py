"""How a run was judged: figures, confusion, slices, mistakes and their pictures."""

from __future__ import annotations

import functools
import json
import os
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from receipt_counter.data.example import SPLITS
from receipt_counter.evaluation.gates import LOWER_IS_BETTER, VERDICTS, overall_verdict
from receipt_counter.evaluation.mistakes import is_mistake, thumbnail_path, worst_mistakes
from receipt_counter.monitor import schemas
from receipt_counter.monitor.datasets import FETCHING, PARENT
from receipt_counter.monitor.monitor import Monitor
from receipt_counter.monitor.queries import NotThereError, judged_splits
from receipt_counter.monitor.reading import (
    UnreadableError,
    clean,
    mapping,
    mappings,
    number,
    open_inside,
    read_inside,
    read_json_inside,
)
from receipt_counter.monitor.run_entry import RunEntry
from receipt_counter.monitor.run_record import Stamp, stamp
from receipt_counter.study.settings import MINIMISED

_LINES_LIMIT = 128 << 20
_PICTURE_LIMIT = 64 << 20
_PICTURES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}
_LOWER_WORDS = ("loss", "perplexity", "error", "seconds", "gigabytes", "off_by_one", "_ece")

Kind = Literal["all", "count", "answer"]


def higher_is_better(metric: str) -> bool:
    """Whether more of a figure is better; of an unknown one its name tells."""
    lower = metric in LOWER_IS_BETTER or metric in MINIMISED
    return not (lower or any(word in metric for word in _LOWER_WORDS))


def chosen_split(run: RunEntry, split: str | None) -> str:
    """The split asked for, or the one that matters most.

    Raises:
        NotThereError: the run was not judged on it.
    """
    judged = judged_splits(run)
    if split is None and judged:
        return judged[0]
    if split not in judged:
        there = ", ".join(judged) or "none yet"
        raise NotThereError(f"this run was not judged on that split; judged on: {there}")
    assert split is not None
    return split


def read_evaluation(monitor: Monitor, run: RunEntry, split: str, name: str) -> Mapping[str, Any]:
    """A JSON file of a split.

    Raises:
        NotThereError: it is not there, or cannot be read.
    """
    file = run.directory / "evaluation" / split / name
    return _read_cached(monitor.root, file, stamp(file))


@functools.lru_cache(maxsize=256)
def _read_cached(root: Path, file: Path, changed: Stamp | None) -> Mapping[str, Any]:
    try:
        content = read_json_inside(root, file)
    except FileNotFoundError:
        raise NotThereError(f"{file.name}: is not there") from None
    except UnreadableError as error:
        raise NotThereError(str(error)) from None
    if not isinstance(content, dict):
        raise NotThereError(f"{file.name}: holds a {type(content).__name__}")
    return content


def estimate(found: Any) -> schemas.Estimate:
    """A figure, with or without an interval."""
    parts = found if isinstance(found, dict) else {"value": found}
    return schemas.Estimate(**{key: number(parts.get(key)) for key in ("value", "low", "high")})


def estimates(found: Any) -> dict[str, schemas.Estimate]:
    """{figure: estimate}."""
    return {str(name): estimate(value) for name, value in mapping(found).items()}


def summary(monitor: Monitor, run: RunEntry) -> schemas.Summary:
    """How a run did on every split it was judged on."""
    splits, notes = {}, []
    for split in judged_splits(run):
        try:
            splits[split] = _split_summary(read_evaluation(monitor, run, split, "metrics.json"))
        except NotThereError as error:
            notes.append(f"{split}: {error}")
    # what training itself measured has no intervals
    for split, figures in mapping(run.record.record.get("splits")).items():
        if split not in splits:
            splits[str(split)] = _split_summary({"metrics": figures})
    return schemas.Summary(splits=splits, notes=notes)


def _split_summary(content: Mapping[str, Any]) -> schemas.SplitSummary:
    gates = {
        str(name): schemas.Gate(
            **estimate(gate).model_dump(),
            target=number(mapping(gate).get("target")) or 0.0,
            minimum=number(mapping(gate).get("minimum")) or 0.0,
            verdict=gate["verdict"] if mapping(gate).get("verdict") in VERDICTS else "unknown",
            lower_is_better=name in LOWER_IS_BETTER,
        )
        for name, gate in mapping(content.get("gates")).items()
    }
    calibration = content.get("calibration")
    verdict: Any = overall_verdict({name: {"verdict": gate.verdict} for name, gate in gates.items()})
    images, questions = number(content.get("n_images")), number(content.get("n_questions"))
    return schemas.SplitSummary(
        images=None if images is None else int(images),
        questions=None if questions is None else int(questions),
        metrics=estimates(content.get("metrics")),
        answer_accuracy_by_type=mappings(content.get("answer_accuracy_by_type")),
        per_class=mappings(content.get("per_class")),
        calibration=calibration if isinstance(calibration, list) else [],
        gates=gates,
        verdict=verdict,
    )


def confusion(monitor: Monitor, run: RunEntry, split: str | None) -> schemas.Confusion:
    """The confusion matrix of a split.

    Raises:
        NotThereError: there is none.
    """
    chosen = chosen_split(run, split)
    content = read_evaluation(monitor, run, chosen, "confusion.json")
    try:
        matrix = [[float(cell) for cell in row] for row in content["matrix"]]
        return schemas.Confusion(split=chosen, labels=[str(label) for label in content["labels"]], matrix=matrix)
    except (KeyError, TypeError, ValueError):
        raise NotThereError("confusion.json: is no confusion matrix") from None


def slices(monitor: Monitor, run: RunEntry, split: str | None) -> schemas.Slices:
    """How a run did on parts of a split.

    Raises:
        NotThereError: it was not judged on it.
    """
    chosen = chosen_split(run, split)
    content = read_evaluation(monitor, run, chosen, "metrics.json")
    found = {name: mappings(values) for name, values in mappings(content.get("slices")).items()}
    return schemas.Slices(split=chosen, overall=estimates(content.get("metrics")), slices=found)


def mistakes(
    monitor: Monitor, run: RunEntry, split: str | None, kind: Kind, offset: int, limit: int
) -> schemas.Mistakes:
    """A page of the images that a run got wrong, the worst first.

    Args:
        monitor: knows the folder.
        run: whose.
        split: one it was judged on; None: the one that matters most.
        kind: wrong counts, right counts with wrong answers, or both.
        offset: of the first one.
        limit: how many at most.

    Raises:
        NotThereError: there are no predictions.
    """
    chosen = chosen_split(run, split)
    file = run.directory / "evaluation" / chosen / "predictions.jsonl"
    found = [line for line in _worst(monitor.root, file, stamp(file)) if _is_of(line, kind)]
    labels = _labels(monitor, run, chosen)
    page = [_mistake(monitor, run, chosen, line, labels) for line in found[offset : offset + limit]]
    note, fetching = (None, False) if all(one.image for one in page) else _lacking(monitor, run)
    return schemas.Mistakes(split=chosen, total=len(found), offset=offset, mistakes=page, fetching=fetching, note=note)


@functools.lru_cache(maxsize=8)
def _worst(root: Path, file: Path, changed: Stamp | None) -> list[dict[str, Any]]:
    """All mistakes, the worst first; lines that are no predictions are left out."""
    try:
        descriptor = open_inside(root, file, _LINES_LIMIT)
    except FileNotFoundError:
        raise NotThereError(f"{file.name}: is not there") from None
    except UnreadableError as error:
        raise NotThereError(str(error)) from None
    with os.fdopen(descriptor, "rb") as lines:
        wrong = [line for line in _predictions(lines) if is_mistake(line)]  # what is right is not kept in memory
    return [dict(line) for line in worst_mistakes(wrong, limit=len(wrong))]


def _predictions(lines: Iterator[bytes] | Any) -> Iterator[dict[str, Any]]:
    for text in lines:
        try:
            line = clean(json.loads(text))
            answers = [_answer(one) for one in line.get("answers", [])]
            probabilities = [float(p) for p in line["probabilities"]]
            if not probabilities:
                continue
            yield {
                "id": str(line["id"]),
                "count": int(line["count"]),
                "label": int(line["label"]),
                "predicted": int(line["predicted"]),
                "probabilities": probabilities,
                "slices": {str(key): str(value) for key, value in mapping(line.get("slices")).items()},
                "answers": answers,
            }
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue


def _answer(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": str(one["type"]),
        "question": str(one["question"]),
        "truth": str(one["answer"]),
        "predicted": str(one["predicted"]),
        "correct": bool(one["correct"]),
    }


def _is_of(line: Mapping[str, Any], kind: Kind) -> bool:
    miscounted = line["predicted"] != line["label"]
    return kind == "all" or miscounted == (kind == "count")


def _labels(monitor: Monitor, run: RunEntry, split: str) -> list[str]:
    """What the classes are called."""
    try:
        return confusion(monitor, run, split).labels
    except NotThereError:
        return []


def _mistake(
    monitor: Monitor, run: RunEntry, split: str, line: Mapping[str, Any], labels: Sequence[str]
) -> schemas.Mistake:
    files = (file for _, file in _places(monitor, run, split, line["id"], small=True))
    is_here = any(os.path.isfile(file) for file in files)  # whatever the name: false for what cannot be one
    address = "/".join(urllib.parse.quote(part, safe="") for part in (run.id, "images", split, line["id"]))
    return schemas.Mistake(
        id=line["id"],
        image=f"api/experiments/{address}" if is_here else None,
        thumbnail=f"api/experiments/{address}?size=thumbnail" if is_here else None,
        truth=str(line["count"]),
        predicted=labels[line["predicted"]] if 0 <= line["predicted"] < len(labels) else str(line["predicted"]),
        confidence=max(line["probabilities"], default=None),
        miscounted=line["predicted"] != line["label"],
        slices=line["slices"],
        answers=[schemas.AnswerGiven(**answer) for answer in line["answers"]],
    )


def picture(monitor: Monitor, run: RunEntry, split: str, identity: str, *, small: bool) -> tuple[bytes, str]:
    """A picture that a run was judged on, and its media type.

    Args:
        monitor: knows the folder.
        run: whose dataset.
        split: of the dataset.
        identity: the example's id; what the dataset does not name is not given out.
        small: the small copy that lies beside the predictions, if there is one.

    Raises:
        NotThereError: there is no such picture.
    """
    if split not in SPLITS:
        raise NotThereError("no such split")
    for root, file in _places(monitor, run, split, identity, small=small):
        try:
            content = read_inside(root, file, _PICTURE_LIMIT)
        except (FileNotFoundError, UnreadableError):
            continue
        kind = next((kind for magic, kind in _PICTURES.items() if content.startswith(magic)), None)
        if kind is not None:
            return content, kind
    raise NotThereError("no such picture: the dataset of this run does not name it, or is gone")


def _places(monitor: Monitor, run: RunEntry, split: str, identity: str, *, small: bool) -> Iterator[tuple[Path, Path]]:
    """(folder, file in it) of where an example's picture may lie: in a dataset, and small beside the predictions."""
    thumbnail = (monitor.root, thumbnail_path(run.directory / "evaluation" / split, identity))
    if small:
        yield thumbnail
    yield from _pictures(monitor, run, split, identity)
    if not small:
        yield thumbnail


def _lacking(monitor: Monitor, run: RunEntry) -> tuple[str, bool]:
    """Why pictures are not here, and whether they are on their way."""
    fingerprint = run.record.lineage.get("data_fingerprint")
    if not isinstance(fingerprint, str):
        return "Some pictures are not here: the run does not say which dataset it was judged on.", False
    said = monitor.source.want_dataset(fingerprint)
    named = run.record.config.get("data.path")
    which = f"its dataset, {named}," if isinstance(named, str) else "its dataset"
    return f"Some pictures are not here: {which} {said or 'is not on this machine'}.", said == FETCHING


def _pictures(monitor: Monitor, run: RunEntry, split: str, identity: str) -> Iterator[tuple[Path, Path]]:
    """(dataset, file) of an example in the datasets that are the run's by fingerprint."""
    fingerprint = run.record.lineage.get("data_fingerprint")
    for directory in _datasets(monitor, run):
        summary = directory / "dataset.json"
        if fingerprint and _fingerprint(directory, stamp(summary)) == fingerprint:
            lines = directory / f"{split}.jsonl"
            image = _images(directory, lines, stamp(lines)).get(identity)
            if image is not None:
                yield directory, directory / image


def _datasets(monitor: Monitor, run: RunEntry) -> Sequence[Path]:
    """Where the run's dataset may lie: the user's own, or one that was rendered into the folder."""
    named = run.record.config.get("data.path")
    own = [Path(named)] if isinstance(named, str) and os.path.isabs(named) and "\0" not in named else []
    try:
        rendered = sorted(path for path in (monitor.root / PARENT).iterdir() if not path.name.startswith("."))
    except OSError:
        rendered = []
    return [path.resolve() for path in [*own, *rendered] if path.is_dir() and (path in own or not path.is_symlink())]


@functools.lru_cache(maxsize=64)
def _fingerprint(directory: Path, changed: Stamp | None) -> str | None:
    try:
        return mapping(read_json_inside(directory, directory / "dataset.json")).get("fingerprint")
    except (FileNotFoundError, UnreadableError):
        return None


@functools.lru_cache(maxsize=8)
def _images(directory: Path, file: Path, changed: Stamp | None) -> dict[str, str]:
    """{example's id: its image's file} of a split."""
    found = {}
    try:
        for line in read_inside(directory, file, _LINES_LIMIT).splitlines():
            content = json.loads(line)
            found[str(content["id"])] = str(content["image"])
    except (FileNotFoundError, UnreadableError, ValueError, KeyError, TypeError, RecursionError):
        return found
    return found
