"""What the pages of runs and of studies share: their templates, and the figures in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly import graph_objects as go
from plotly.offline import get_plotlyjs

from receipt_counter.evaluation.wording import title

_LEGEND_ROOM = 36  # pixels above a figure whose title has gone
_TEMPLATES = Path(__file__).parent / "templates"


def templates() -> Environment:
    """The pages' templates; a page is given its `page`, and may add filters of its own."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["title_of"] = title
    environment.globals["plotly"] = Markup(get_plotlyjs())
    return environment


class Page:
    """The figures of a page, in the order in which they appear."""

    def __init__(self) -> None:
        self._figures: list[go.Figure] = []

    def keep(self, drawn: Sequence[go.Figure]) -> list[dict[str, Any]]:
        """Take figures up, leaving out empty ones.

        Returns:
            For each, its number, title and height: the title is the page's to show, as a heading.
        """
        kept = []
        for one in drawn:
            if not one.data:
                continue
            name = one.layout.title.text
            one.layout.title.text = None
            one.layout.margin.t = _LEGEND_ROOM if len(one.data) > 1 and one.layout.showlegend is not False else 10
            kept.append({"number": len(self._figures), "title": name, "height": one.layout.height})
            self._figures.append(one)
        return kept

    @property
    def json(self) -> Markup:
        """All figures as JSON that may stand in a script element."""
        text = ",".join(str(one.to_json()) for one in self._figures)
        return Markup(f"[{text}]".replace("<", "\\u003c"))
