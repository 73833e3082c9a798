"""How figures are named and written for people: in the terminal and in reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

TITLES = {
    "classification_accuracy": "Counting accuracy",
    "classification_precision": "Counting precision (macro)",
    "classification_recall": "Counting recall (macro)",
    "classification_f1": "Counting F1 (macro)",
    "classification_off_by_one": "Off by one",
    "classification_ece": "Calibration error",
    "answer_accuracy": "Exact answers",
    "generation_bleu1": "BLEU-1",
    "generation_bleu2": "BLEU-2",
    "generation_bleu3": "BLEU-3",
    "generation_bleu4": "BLEU-4",
    "generation_bleu": "BLEU",
    "generation_rouge1_f": "ROUGE-1",
    "generation_rouge2_f": "ROUGE-2",
    "generation_rougeL_f": "ROUGE-L",
    "generation_perplexity": "Perplexity",
    "val_total_loss": "Loss on val",
    "val_cls_loss": "Counting loss on val",
    "val_lm_loss": "Answer loss on val",
    "seconds_per_image": "Time per image",
    "model_gigabytes": "Model size",
}

SHARES = (
    "classification_accuracy",
    "classification_precision",
    "classification_recall",
    "classification_f1",
    "classification_off_by_one",
    "answer_accuracy",
)


def title(name: str) -> str:
    """What a figure is called."""
    return TITLES.get(name, name)


def spoken(name: str) -> str:
    """What a figure is called within a sentence."""
    words = title(name)
    return words if words.isupper() else words[0].lower() + words[1:]


def format_value(name: str, value: float) -> str:
    """A figure with its unit, in as many digits as mean something."""
    if name in SHARES:
        return f"{100 * value:.1f} %"
    if name == "seconds_per_image":
        return f"{1000 * value:.3g} ms" if value < 1 else f"{value:.3g} s"
    if name == "model_gigabytes":
        return f"{1000 * value:.3g} MB" if value < 1 else f"{value:.3g} GB"
    return f"{value:.3f}"


def format_interval(name: str, figure: Mapping[str, float]) -> str:
    """The interval of a figure: "97.8–99.3 %"; empty where it has no width."""
    low, high = format_value(name, figure["low"]), format_value(name, figure["high"])
    if figure["low"] == figure["high"]:
        return ""
    number, _, unit = low.partition(" ")
    return f"{number}–{high}" if high.endswith(unit) else f"{low} – {high}"


def format_points(difference: float) -> str:
    """A difference of figures between 0 and 1 in points, with its sign: "+0.4"."""
    return f"{100 * difference:+.1f}"


def format_p(p: float) -> str:
    """A p-value with its relation: "= 0.028", "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown.

    Args:
        header: of the columns.
        rows: cells, as many as the header has.
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
