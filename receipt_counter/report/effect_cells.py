"""Effects as the tables of both kinds of study show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receipt_counter.report.study_figures import verdict_of

_BADGES = {  # verdict: the style's tone, and what it says
    "better": ("target", "▲ better"),
    "worse": ("failed", "▼ worse"),
    "undecided": ("unknown", "● undecided"),
    "identical": ("unknown", "= identical"),
}


def effect_cell(effect: Mapping[str, Any]) -> dict[str, Any]:
    """An effect of analysis.json with its verdict as a badge: `tone` and `badge`."""
    tone, badge = _BADGES[verdict_of(effect)]
    return {**effect, "tone": tone, "badge": badge}
