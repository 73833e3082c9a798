"""What the pages of runs and of studies share: their templates, and the figures in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from plotly import graph_objects as go
from plotly.offline import get_plotlyjs

from receipt_counter.evaluation.wording import title
from receipt_counter.report.study_figures import family_title, points
from receipt_counter.study.search_findings import short_value

_LEGEND_ROOM, _LEAST_ROOM = 36, 10  # pixels above a figure whose title has gone
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
    environment.filters.update(title_of=title, breakable=_breakable)
    environment.globals["plotly"] = Markup(get_plotlyjs())
    return environment


def _breakable(name: str) -> Markup:
    """A text of dotted names that may be broken where a person would break them, and never within a number."""
    return Markup(re.sub(r"([._])(?=[A-Za-z])", r"\1<wbr>", str(escape(name))))


def study_templates() -> Environment:
    """The templates of the pages of studies."""
    environment = templates()
    environment.filters.update(points=points, family_title=family_title, short_value=short_value)
    return environment


class Page:
    """The figures of a page, in the order in which they appear."""

    def __init__(self) -> None:
        self._figures: list[go.Figure] = []

    def keep(self, drawn: Sequence[go.Figure]) -> list[dict[str, Any]]:
        """Take figures up, leaving out empty ones.

        Returns:
            For each, its number, title, height and least width: the title is the page's to show, as a heading.
        """
        kept = []
        for one in drawn:
            if not one.data:
                continue
            name = one.layout.title.text
            one.layout.title.text = None
            legend = len(one.data) > 1 and one.layout.showlegend is not False
            one.layout.margin.t = _LEGEND_ROOM if legend else max(_LEAST_ROOM, one.layout.margin.t or 0)
            least = (one.layout.meta or {}).get("least_width", 0)
            kept.append({"number": len(self._figures), "title": name, "height": one.layout.height, "least": least})
            self._figures.append(one)
        return kept

    @property
    def json(self) -> Markup:
        """All figures as JSON that may stand in a script element."""
        text = ",".join(str(one.to_json()) for one in self._figures)
        return Markup(f"[{text}]".replace("<", "\\u003c"))
