"""Figures of a training run over its optimizer steps, one function a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from plotly import graph_objects as go

from receipt_counter.evaluation.wording import title
from receipt_counter.report.history import History
from receipt_counter.report.theme import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, TEAL, figure, translucent

_STAGE_TINTS = (GREY, BLUE, GREEN, ORANGE)
_MOST_EPOCH_LINES = 40  # beyond, they would be a grey wall
_POINTS_DRAWN = 2000  # per line; a longer one is thinned evenly


class _Line(NamedTuple):
    tag: str
    label: str
    colour: str
    dash: str = "solid"


def loss_curves(history: History) -> go.Figure:
    """Losses on train (thin) and val (dots), with their two parts."""
    lines = [
        _Line("train_total_loss", "train", BLUE),
        _Line("train_cls_loss", "train, counting", ORANGE),
        _Line("train_lm_loss", "train, answers", GREEN),
        _Line("val_total_loss", "val", BLUE, "dot"),
        _Line("val_cls_loss", "val, counting", ORANGE, "dot"),
        _Line("val_lm_loss", "val, answers", GREEN, "dot"),
    ]
    drawn = _curves("Loss", history, lines)
    return drawn.update_yaxes(type="log", title_text="cross-entropy, log scale", dtick=1)


def accuracy_curves(history: History) -> go.Figure:
    """Counting and answers on val after each epoch."""
    tags = {"classification_accuracy": BLUE, "classification_f1": TEAL, "answer_accuracy": ORANGE}
    drawn = _curves("Accuracy on val", history, [_Line(tag, title(tag), colour) for tag, colour in tags.items()])
    return drawn.update_yaxes(tickformat=".0%")


def text_curves(history: History) -> go.Figure:
    """BLEU-1..4 and ROUGE on val after each epoch."""
    tags = {
        "generation_bleu1": translucent(BLUE, 0.45),
        "generation_bleu2": translucent(BLUE, 0.6),
        "generation_bleu3": translucent(BLUE, 0.8),
        "generation_bleu4": BLUE,
        "generation_rouge1_f": translucent(ORANGE, 0.6),
        "generation_rouge2_f": translucent(ORANGE, 0.8),
        "generation_rougeL_f": ORANGE,
    }
    return _curves("BLEU and ROUGE on val", history, [_Line(tag, title(tag), colour) for tag, colour in tags.items()])


def learning_rate_curves(history: History) -> go.Figure:
    """Learning rate of each part; a part without a line does not train."""
    prefix = "learning_rate_"
    tags = [tag for tag in history.series if tag.startswith(prefix)]
    colours = (PURPLE, TEAL, GREEN, ORANGE, BLUE, RED)
    # Parts often share a rate: dashes let the line below show through.
    dashes = ("solid", "dash", "dot", "dashdot", "longdash", "solid")
    lines = [
        _Line(tag, tag.removeprefix(prefix).replace("_", " "), colours[i % 6], dashes[i % 6])
        for i, tag in enumerate(sorted(tags))
    ]
    drawn = _curves("Learning rate of each part", history, lines)
    return drawn.update_yaxes(type="log", exponentformat="power", title_text="log scale", dtick=1)


def _curves(name: str, history: History, lines: Sequence[_Line]) -> go.Figure:
    drawn = figure(name)
    for line in lines:
        series = history.series.get(line.tag)
        if series is None:
            continue
        every = -(-len(series.steps) // _POINTS_DRAWN)
        per_epoch = not line.tag.startswith(("train_", "learning_rate_"))
        drawn.add_scatter(
            x=series.steps[::every],
            y=series.values[::every],
            name=line.label,
            mode="lines+markers" if per_epoch else "lines",
            line={"color": line.colour, "width": 1.5 if line.tag.startswith("train_") else 2, "dash": line.dash},
            marker={"size": 6},
            hovertemplate="%{y:.4g}",
        )
    if drawn.data:
        _mark_stages(drawn, history)
    return drawn.update_layout(hovermode="x unified").update_xaxes(
        title_text="optimizer step", range=[0, history.last_step], showgrid=False
    )


def _mark_stages(drawn: go.Figure, history: History) -> None:
    """Tint the stages, name them, and draw a hair line at the end of each epoch."""
    shapes, names = [], []
    for span in history.stages:
        box = {"type": "rect", "yref": "paper", "y0": 0, "y1": 1, "x0": span.start, "x1": span.end, "layer": "below"}
        tint = translucent(_STAGE_TINTS[span.number % len(_STAGE_TINTS)], 0.09)
        shapes.append({**box, "line": {"width": 0}, "fillcolor": tint})
        if span.start:
            line = {"color": GREY, "width": 1.2}
            shapes.append({**box, "type": "line", "x1": span.start, "layer": "above", "line": line})
        wide = span.end - span.start > 0.12 * history.last_step
        names.append(
            {
                "x": span.start,
                "xanchor": "left",
                "y": 1,
                "yref": "paper",
                "yanchor": "top",
                "text": f"stage {span.number}" if wide else str(span.number),
                "showarrow": False,
                "font": {"size": 11},
            }
        )
    if len(history.epochs) <= _MOST_EPOCH_LINES:
        for step in history.epochs[:-1]:
            line = {"color": translucent(GREY, 0.35), "width": 1, "dash": "dot"}
            hair = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": step, "x1": step, "layer": "below"}
            shapes.append({**hair, "line": line})
    drawn.update_layout(shapes=shapes, annotations=names)
