"""May a run become the current version? By its gates, and by a paired comparison with the version it would replace.

Better means: in at least one of the quality figures that have a gate (counting accuracy, exact answers, BLEU, ROUGE-L)
significantly better and in none significantly worse, after Holm's correction over these figures; and on no slice of at
least 50 images significantly worse in counting or answering, after Holm's correction over slices x figures. Time and
size have gates but are not compared: the gates say how much of them is too much.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from receipt_counter.comparison.compare_models import Comparison, verdict
from receipt_counter.comparison.effects import Effect
from receipt_counter.config.schema import Gates
from receipt_counter.evaluation.gates import LOWER_IS_BETTER
from receipt_counter.evaluation.wording import format_p, format_points, format_value, spoken, title
from receipt_counter.storage.registry import Version

SPLIT = "test"
QUALITY = tuple(field.name for field in dataclasses.fields(Gates) if field.name not in LOWER_IS_BETTER)
COMPARISON_COLUMNS = ("figure", "difference (points)", "95 % interval", "p (Holm)", "verdict")

PROMOTED, REFUSED, UNCHANGED = "promoted", "refused", "unchanged"


@dataclass(frozen=True)
class Decision:
    """What is to become of a run.

    Attributes:
        run_id: the run.
        model: the name in the registry.
        current: the version it would replace; None for the first one.
        gates: of its test split, as in metrics.json.
        comparison: with the current version; None without one, or where the two cannot be compared.
        judged_again: whether the current version was judged anew for it, on the run's test split.
        reasons: why it is not promoted, a sentence each; none where it is.
    """

    run_id: str
    model: str
    current: Version | None
    gates: Mapping[str, Mapping[str, Any]]
    comparison: Comparison | None = None
    judged_again: bool = False
    reasons: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        """PROMOTED, REFUSED, or UNCHANGED where the run is the current version already."""
        if self.current is not None and self.current.run_id == self.run_id:
            return UNCHANGED
        return REFUSED if self.reasons else PROMOTED

    def as_dict(self, version: Version | None) -> dict[str, Any]:
        """The decision for machines.

        Args:
            version: the version the run is now; None where it was not promoted.
        """
        return {
            "run_id": self.run_id,
            "model": self.model,
            "outcome": self.outcome,
            "version": None if version is None else version.number,
            "gates": self.gates,
            "comparison": self.comparison_record(),
            "reasons": self.reasons,
        }

    def comparison_record(self) -> dict[str, Any] | None:
        """The comparison for machines."""
        if self.comparison is None or self.current is None:
            return None
        return {
            "version": self.current.number,
            "run_id": self.current.run_id,
            "judged_again": self.judged_again,
            "metrics": {metric: _record(metric, effect) for metric, effect in self.comparison.metrics.items()},
            "slices": [
                {"metric": metric, "slice": name, **_record(metric, effect)}
                for (metric, name), effect in self.comparison.slices.items()
            ],
        }


def failed_gates(gates: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A sentence for each gate whose minimum is not reached, or not shown to be.

    Args:
        gates: what `evaluation.gates.judge` returned.
    """
    for name, gate in gates.items():
        target, minimum = (format_value(name, gate[bound]) for bound in ("target", "minimum"))
        if gate["verdict"] == "unknown":
            yield f"{spoken(name)}: not measured (minimum {minimum}, target {target})"
        elif gate["verdict"] == "failed":
            value = format_value(name, gate["value"])
            if value == minimum:  # the difference is lost in rounding
                value, minimum = repr(gate["value"]), repr(gate["minimum"])
            missed = "above the maximum" if name in LOWER_IS_BETTER else "below the minimum"
            yield f"{spoken(name)}: {value} is {missed} {minimum} (target {target})"


def not_better(comparison: Comparison, current: Version) -> Iterator[str]:
    """A sentence for each way in which a run falls short of being better than the current version.

    Args:
        comparison: the run against the current version, over `QUALITY`.
        current: named in the sentences.
    """
    for metric in comparison.worse:
        yield f"{spoken(metric)}: significantly worse than {current}: {_change(comparison.metrics[metric])}"
    for metric, name in comparison.worse_slices:
        effect = comparison.slices[metric, name]
        where = f"{spoken(metric)} where {name} ({effect.n_images} images)"
        yield f"{where}: significantly worse than {current}: {_change(effect)}"
    if all(effect.identical for effect in comparison.metrics.values()):
        yield f"not better than {current}: no difference on any image"
    elif not comparison.better and not comparison.worse:
        changes = "; ".join(f"{spoken(metric)} {_change(effect)}" for metric, effect in comparison.metrics.items())
        yield f"not significantly better than {current}: {changes}"


def sentences(decision: Decision, version: Version | None) -> list[str]:
    """What became of a run, and then the reasons why it was refused, if it was.

    Args:
        decision: on the run.
        version: the version the run is now; None where it was not promoted, be it because nobody asked for it yet.
    """
    run, current = f"run {decision.run_id}", decision.current
    if decision.outcome == UNCHANGED:
        return [f"nothing to do: {run} is {current} already, the current version"]
    if decision.outcome == REFUSED:
        return [f"not promoted: {run}", *decision.reasons]
    if version is not None:
        return [f"promoted: {run} is {version} now, the current version"]
    rank = "would be the first version" if current is None else f"is better than {current} and would replace it"
    return [f"{run} passes the gates; it {rank}"]


def comparison_title(decision: Decision) -> str:
    """What the run was compared with, and on which images."""
    images = "judged again on the images of this run" if decision.judged_again else "on the same images"
    return f"Compared with {decision.current}, {images}"


def comparison_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Cells for `COMPARISON_COLUMNS`: each figure, then each slice that is significantly better or worse."""
    named = [(title(metric), metric, effect) for metric, effect in comparison.metrics.items()]
    named += [
        (f"{title(metric)}, {name} ({effect.n_images} images)", metric, effect)
        for (metric, name), effect in comparison.slices.items()
        if verdict(metric, effect) != "undecided"
    ]
    return [
        (name, format_points(e.effect), _interval(e), format_p(_p(e)).removeprefix("= "), verdict(metric, e))
        for name, metric, e in named
    ]


def _record(metric: str, effect: Effect) -> dict[str, Any]:
    return {**dataclasses.asdict(effect), "verdict": verdict(metric, effect)}


def _change(effect: Effect) -> str:
    if effect.identical:
        return "the same"
    return f"{format_points(effect.effect)} points (95 % interval {_interval(effect)}, Holm p {format_p(_p(effect))})"


def _interval(effect: Effect) -> str:
    return f"{format_points(effect.low)} to {format_points(effect.high)}"


def _p(effect: Effect) -> float:
    """After Holm's correction; `compare_models` always corrects."""
    return effect.p if effect.p_holm is None else effect.p_holm
