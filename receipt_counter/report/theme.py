"""How figures look: colours that work on white and on black, and axes without clutter."""

from __future__ import annotations

from plotly import graph_objects as go

BLUE, ORANGE, GREEN, PURPLE, RED, TEAL, GREY = (
    "#3b82d6",
    "#e08a2c",
    "#2f9e6e",
    "#9067d4",
    "#d9534f",
    "#2aa5b0",
    "#8a919c",
)
FONT = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_GRID = "rgba(138,145,156,0.22)"

_AXIS = {
    "gridcolor": _GRID,
    "linecolor": "rgba(138,145,156,0.55)",
    "zeroline": False,
    "automargin": True,
    "title": {"standoff": 8, "font": {"size": 12}},
}

TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 12, "color": GREY},
        "title": {"x": 0, "xanchor": "left", "font": {"size": 15}},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "colorway": [BLUE, ORANGE, GREEN, PURPLE, RED, TEAL],
        "margin": {"l": 8, "r": 20, "t": 36, "b": 8},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "hoverlabel": {"font": {"family": FONT}},
    }
)


def figure(title: str, *, height: int = 320) -> go.Figure:
    """An empty figure in this project's style.

    Args:
        title: what it shows.
        height: pixels.
    """
    return go.Figure(layout={"template": TEMPLATE, "title": {"text": title}, "height": height})


def translucent(colour: str, alpha: float) -> str:
    """A "#rrggbb" colour that lets the page shine through."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
