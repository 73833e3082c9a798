"""Hyperband as Katib runs it (pkg/suggestion/v1beta1/hyperband; Li et al. 2018, algorithm 1).

Brackets s = s_max ... 0, where s_max = floor(log_eta(r_l)). A bracket's first rung tries n random points with the
resource parameter set to r_l eta^-s; each further rung repeats the best 1/eta of the one before, as *new trials*, with
eta times the resource. Every trial thus has a place that is known from the start: only what stands there depends on
the results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from receipt_counter.engines.base import UNSUCCESSFUL, Objective, TrialResult
from receipt_counter.katib.algorithms import widest_bracket

NAME = "hyperband"


@dataclass(frozen=True)
class Rung:
    """A set of trials that share their resource.

    Args:
        trials: their indices.
        resource: value of the resource parameter.
        parents: indices of the rung below; empty for a bracket's first.
    """

    trials: range
    resource: int
    parents: range


def rungs(r_l: float, eta: float) -> list[Rung]:
    """All rungs of all brackets, in the order of their trials."""
    found: list[Rung] = []
    start, first = 0, widest_bracket(r_l, eta)
    for s in range(first, -1, -1):
        size = math.ceil((first + 1) * eta**s / (s + 1) - 1e-9)
        parents = range(start, start)
        for i in range(s + 1):
            found.append(Rung(range(start, start + size), int(r_l * eta ** (i - s) + 1e-9), parents))
            start, parents, size = start + size, range(start, start + size), math.ceil(size / eta - 1e-9)
    return found


class Hyperband:
    """Suggests trials by rungs.

    Args:
        resource_name: the parameter that holds the resource.
        r_l: the greatest resource.
        eta: the share of trials that is left behind at each rung.
        sample: a random point of the search space; called once for each place in a first rung.
        objective: decides which trials go on.
    """

    def __init__(
        self, resource_name: str, r_l: float, eta: float, sample: Callable[[], dict[str, str]], objective: Objective
    ) -> None:
        self._resource_name = resource_name
        self._objective = objective
        self._rungs = [rung for rung in rungs(r_l, eta) for _ in rung.trials]
        self._points = {index: sample() for index, rung in enumerate(self._rungs) if not rung.parents}

    @property
    def total(self) -> int:
        """How many trials there are in all brackets."""
        return len(self._rungs)

    def waits_for(self, index: int) -> Sequence[int]:
        """The rung below."""
        return self._rungs[index].parents

    def suggest(self, index: int, results: Mapping[int, TrialResult]) -> dict[str, str] | None:
        """The assignments of a trial, or None where too few of the rung below succeeded."""
        rung = self._rungs[index]
        if not rung.parents:
            return {**self._points[index], self._resource_name: str(rung.resource)}
        sign = -1 if self._objective.maximize else 1
        ranked = sorted(
            (sign * trial.objective, trial.index)
            for trial in (results[i] for i in rung.parents if i in results)
            if trial.objective is not None and trial.status not in UNSUCCESSFUL
        )
        place = index - rung.trials.start
        if place >= len(ranked):
            return None
        return {**results[ranked[place][1]].assignments, self._resource_name: str(rung.resource)}
