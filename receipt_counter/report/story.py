"""The report's sentences: what was trained, on what, how good it is, and whether it may be promoted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from receipt_counter.evaluation.gates import overall_verdict
from receipt_counter.evaluation.wording import format_interval, format_value, title
from receipt_counter.report.contents import RunContents, SplitResults
from receipt_counter.storage.run import FINISHED

_SMALLEST_SLICE = 20  # images; below, a slice's accuracy is mostly chance


class Headline(NamedTuple):
    """The first thing a reader sees.

    Attributes:
        tone: "target", "minimum", "failed" or "unknown", as a gate's verdict.
        badge: one or two words.
        sentence: why.
    """

    tone: str
    badge: str
    sentence: str


def headline(contents: RunContents) -> Headline:
    """Whether the model may be promoted, or what became of the run."""
    status = contents.record.get("status")
    if status != FINISHED:
        return _unfinished(contents, str(status))
    if contents.main_split is None:
        return Headline("unknown", "trained", "Training has finished; the model has not been judged yet.")
    gates = contents.results[contents.main_split].metrics["gates"]
    by_verdict = {verdict: _names(gates, verdict) for verdict in ("failed", "minimum", "unknown")}
    verdict = overall_verdict(gates)
    return {
        "target": Headline("target", "promote", "Every promotion gate meets its target."),
        "minimum": Headline(
            "minimum", "acceptable", f"Every gate meets its minimum; short of the target: {by_verdict['minimum']}."
        ),
        "failed": Headline("failed", "do not promote", f"Below the minimum: {by_verdict['failed']}."),
        "unknown": Headline("unknown", "not judged", f"Not measured: {by_verdict['unknown'] or 'any gate'}."),
    }[verdict]


def _unfinished(contents: RunContents, status: str) -> Headline:
    step = contents.history.last_step
    where = f" at step {step:,}" if step else " before its first logged step"
    return {
        "running": Headline("unknown", "running", f"Training is under way: last heard of{where}."),
        "interrupted": Headline("minimum", "interrupted", f"Stopped{where}; the same command continues it."),
        "diverged": Headline("failed", "diverged", f"The loss stopped being a number{where}."),
        "failed": Headline("failed", "failed", f"The run failed{where}."),
    }.get(status, Headline("unknown", status, "The run has not begun."))


def _names(gates: Mapping[str, Mapping[str, Any]], verdict: str) -> str:
    return ", ".join(title(name).lower() for name, gate in gates.items() if gate["verdict"] == verdict)


def sentences(contents: RunContents) -> list[str]:
    """The story in a few sentences, as many as can be told; the most important first."""
    told = []
    if contents.main_split is not None:
        results = contents.results[contents.main_split]
        told += [_judgement_sentence(contents.main_split, results), _mistakes_sentence(results)]
        told += _weakest_slice_sentence(results)
    told.append(_training_sentence(contents))
    return [sentence for sentence in told if sentence]


def _training_sentence(contents: RunContents) -> str:
    record, config = contents.record, contents.config
    if not config:
        return ""
    checkpoint = config["model"]["checkpoint"]
    model = f"{Path(checkpoint).name} was fine-tuned" if checkpoint else "A tiny InternVL was trained from nothing"
    stages = len(contents.history.stages)
    how = [
        _counted(record.get("epochs"), "epoch"),
        _counted(stages, "stage") if stages > 1 else "",
        f"{contents.history.last_step:,} steps" if contents.history.last_step else "",
    ]
    length = ", ".join(part for part in how if part)
    took = f" in {duration(record['device_seconds'])} of device time" if record.get("device_seconds") else ""
    epoch = record.get("best_epoch")
    best = f" The model of epoch {epoch} was the best on val and is the one kept." if epoch else ""
    return f"{model} on {_data(contents)}{f', {length}' if length else ''}{took}.{best}"


def _data(contents: RunContents) -> str:
    data = contents.config["data"]
    if data["path"] is None:
        return f"{data['render']['train_images']:,} rendered pictures of {data['image_size']} pixels"
    name = contents.record.get("lineage", {}).get("data_name") or Path(data["path"]).name
    return f"the dataset {name} at {data['image_size']} pixels"


def _judgement_sentence(split: str, results: SplitResults) -> str:
    metrics = results.metrics["metrics"]
    said = [f"this model counts {_with_interval('classification_accuracy', metrics)} right"]
    if "answer_accuracy" in metrics:
        asked = results.metrics["n_questions"]
        said.append(f"answers {_with_interval('answer_accuracy', metrics)} of {asked:,} questions exactly right")
    return f"On {results.metrics['n_images']:,} {split} images it never trained on, {' and '.join(said)}."


def _with_interval(name: str, metrics: Mapping[str, Mapping[str, float]]) -> str:
    return f"{format_value(name, metrics[name]['value'])} ({format_interval(name, metrics[name])})"


def _mistakes_sentence(results: SplitResults) -> str:
    wrong = [line for line in results.predictions if line["predicted"] != line["label"]]
    if not wrong:
        return "It miscounts none of them."
    near = sum(abs(line["predicted"] - line["label"]) == 1 for line in wrong)
    sure = sum(max(line["probabilities"]) >= 0.9 for line in wrong)
    detail = f"{near:,} {_were(near)} off by one and {sure:,} made with a confidence of 90 % or more"
    return f"Of its {_counted(len(wrong), 'wrong count')}, {detail}."


def _weakest_slice_sentence(results: SplitResults) -> list[str]:
    name = "classification_accuracy"
    found = [
        (entry[name]["value"], key, value, entry)
        for key, values in results.metrics["slices"].items()
        for value, entry in values.items()
        if entry["n"] >= _SMALLEST_SLICE and len(values) > 1
    ]
    if not found:
        return []
    _, key, value, entry = min(found, key=lambda item: item[:3])
    overall = results.metrics["metrics"][name]["value"]
    if entry[name]["high"] >= overall:
        return [f"No slice of at least {_SMALLEST_SLICE} images is counted clearly worse than the whole."]
    shown = _with_interval(name, entry)
    return [f"It counts worst where {key} is {value}: {shown} of {entry['n']:,} images."]


def _counted(number: int | None, noun: str) -> str:
    if not number:
        return ""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def duration(seconds: float) -> str:
    """Seconds as people say them: "52 s", "3 min 20 s", "1 h 12 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def moment(text: str | None) -> str:
    """An ISO 8601 time as people read it; a dash where there is none."""
    return datetime.fromisoformat(text).strftime("%-d %B %Y, %H:%M %Z").strip() if text else "–"
