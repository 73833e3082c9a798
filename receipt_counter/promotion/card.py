"""The card of a published version: what it is, how good, better than what, and what it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from receipt_counter.comparison.compare_models import SLICE_METRICS
from receipt_counter.evaluation.gates import markdown_gates
from receipt_counter.evaluation.wording import format_interval, format_value, markdown_table, title
from receipt_counter.promotion.decision import (
    COMPARISON_COLUMNS,
    SPLIT,
    Decision,
    comparison_rows,
    comparison_title,
    sentences,
)
from receipt_counter.storage.files import read_json, write_atomic, write_json
from receipt_counter.storage.registry import CARD, Version
from receipt_counter.storage.run import Run, now

FORMAT = 1
INTERVAL = "95 % interval"


def write_card(directory: Path, number: int, decision: Decision, run: Run) -> None:
    """Write card.json and card.md.

    Args:
        directory: of the version.
        number: the version's.
        decision: that it is promoted.
        run: what it is published from.
    """
    record = run.record
    judged = read_json(run.evaluation(SPLIT) / "metrics.json")
    card = {
        "format": FORMAT,
        "model": decision.model,
        "version": number,
        "published": now(),
        "split": SPLIT,
        "n_images": judged["n_images"],
        "n_questions": judged["n_questions"],
        "gates": decision.gates,
        "metrics": judged["metrics"],
        "answer_accuracy_by_type": judged["answer_accuracy_by_type"],
        "slices": judged["slices"],
        "comparison": decision.comparison_record(),
        "lineage": {
            "run_id": record["run_id"],
            "experiment": record["experiment_name"],
            "seed": record["seed"],
            "trained": record["ended"],
            "config": "config.yaml",
            **record["lineage"],
        },
    }
    write_json(directory / CARD, card)
    write_atomic(directory / "card.md", _markdown(card, decision))


def decision_markdown(decision: Decision, version: Version | None) -> str:
    """A decision in Markdown, with all it rests on.

    Args:
        decision: on a run.
        version: the version the run is now; None where it was not promoted.
    """
    headline, *reasons = sentences(decision, version)
    listed = ["\n".join(f"- {reason}" for reason in reasons)] if reasons else []
    return "\n\n".join([f"# {headline[0].upper()}{headline[1:]}", *listed, *_evidence(decision)]) + "\n"


def _evidence(decision: Decision) -> Iterator[str]:
    yield f"## Promotion gates, {SPLIT} split"
    yield markdown_gates(decision.gates)
    if decision.comparison is not None:
        yield f"## {comparison_title(decision)}"
        yield markdown_table(COMPARISON_COLUMNS, comparison_rows(decision.comparison))


def _markdown(card: Mapping[str, Any], decision: Decision) -> str:
    lineage, name = card["lineage"], f"{card['model']}/{card['version']}"
    facts = {
        "run": lineage["run_id"],
        "experiment": lineage["experiment"],
        "seed": lineage["seed"],
        "code": lineage["code_version"],
        "data": f"{lineage['data_name']} ({lineage['data_fingerprint']})",
        "config": lineage["config"],
        "trained": lineage["trained"],
        "published": card["published"],
    }
    rank = "The first version." if decision.current is None else f"Better than {decision.current}, which it replaced."
    parts = [
        f"# {name}",
        "Counts the receipts in a photo and answers questions about them: "
        f"`receipt-counter predict --model {name} PHOTO.jpg`.",
        f"Judged on {card['n_images']:,} images with {card['n_questions']:,} questions it was not trained on. {rank}",
        *_evidence(decision),
        "## Lineage",
        "\n".join(f"- {fact}: {value}" for fact, value in facts.items()),
        "## Figures",
        markdown_table(("figure", "value", INTERVAL), _figures(card["metrics"])),
    ]
    if card["slices"]:
        header = ("slice", "images", *(cell for metric in SLICE_METRICS for cell in (title(metric), INTERVAL)))
        parts += ["## Slices", markdown_table(header, _slices(card["slices"]))]
    return "\n\n".join(parts) + "\n"


def _figures(metrics: Mapping[str, Mapping[str, float]]) -> Iterator[tuple[str, ...]]:
    for name, figure in metrics.items():
        yield title(name), format_value(name, figure["value"]), format_interval(name, figure)


def _slices(slices: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for key, values in slices.items():
        for value, found in values.items():
            measured = {name: found.get(name) for name in SLICE_METRICS}
            cells = [
                cell
                for name, figure in measured.items()
                for cell in ((format_value(name, figure["value"]), format_interval(name, figure)) if figure else "––")
            ]
            yield f"{key}={value}", f"{found['n']:,}", *cells
