"""The search space of an Experiment, and the grid over it as Katib's grid search makes it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from receipt_counter.errors import UserError

if TYPE_CHECKING:
    from kubeflow_katib_api.models import V1beta1Experiment, V1beta1ParameterSpec

KINDS = ("double", "int", "discrete", "categorical")
DISTRIBUTIONS = ("uniform", "logUniform", "normal", "logNormal")


@dataclass(frozen=True)
class Parameter:
    """One dimension of the search space.

    Args:
        name: as trials' assignments name it.
        kind: one of KINDS.
        low: smallest value of a double or int, else None.
        high: largest value of a double or int, else None.
        step: distance of the values of a double or int; an int without one has 1.
        log: whether values are spread evenly over orders of magnitude.
        distribution: one of DISTRIBUTIONS.
        values: choices of a discrete or categorical parameter, as trials get them.
    """

    name: str
    kind: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    distribution: str = "uniform"
    values: tuple[str, ...] = ()

    def grid(self) -> tuple[str, ...]:
        """The values a grid search takes, as the text Katib passes to trials.

        Raises:
            UserError: a double without a step has no grid.
        """
        if self.low is None or self.high is None:
            return self.values
        if self.kind == "int":
            return tuple(str(value) for value in self._whole_numbers())
        return tuple(str(self._double(index)) for index in range(self.size))

    @property
    def size(self) -> int:
        """How many values the grid has, without making them."""
        if self.low is None or self.high is None:
            return len(self.values)
        if self.kind == "int":
            return max(0, (int(self.high) - int(self.low)) // int(self.step or 1) + 1)
        # Katib takes numpy.arange(min, max + step, step) and drops one value beyond max: the same arithmetic.
        count = math.ceil((self.high + self._step() - self.low) / self._step())
        return count - 1 if self._double(count - 1) > self.high else count

    def _whole_numbers(self) -> range:
        assert self.low is not None
        assert self.high is not None
        return range(int(self.low), int(self.high) + 1, int(self.step or 1))

    def _double(self, index: int) -> float:
        """The value that numpy.arange computes: the rounded distance of its first two times the index."""
        assert self.low is not None
        first, second = self.low, self.low + self._step()
        return (first, second)[index] if index < 2 else first + index * (second - first)

    def _step(self) -> float:
        if self.step is None:
            raise UserError(f"parameter {self.name}: a grid needs its feasibleSpace.step")
        return self.step


def search_space(experiment: V1beta1Experiment) -> tuple[Parameter, ...]:
    """The parameters of an Experiment without mistakes (`receipt_counter.katib.experiment.check`), in its order."""
    specification = experiment.spec
    return tuple(_parameter(item) for item in (specification.parameters or [])) if specification else ()


def _parameter(item: V1beta1ParameterSpec) -> Parameter:
    space = item.feasible_space
    assert space is not None
    name, kind = item.name or "", item.parameter_type or ""
    if kind in ("discrete", "categorical"):
        return Parameter(name, kind, values=tuple(space.list or ()))
    assert space.min is not None
    assert space.max is not None
    step = float(space.step) if space.step else (1.0 if kind == "int" else None)
    distribution = space.distribution or "uniform"
    log = distribution in ("logUniform", "logNormal")
    return Parameter(name, kind, float(space.min), float(space.max), step, log, distribution)


def combinations(parameters: Sequence[Parameter]) -> int:
    """How many trials a full grid has, without enumerating them.

    Raises:
        UserError: a double has no step.
    """
    return math.prod(parameter.size for parameter in parameters)


def grid(parameters: Sequence[Parameter]) -> Iterator[dict[str, str]]:
    """All combinations; the last parameter changes fastest.

    Katib itself draws the points of its grid in random order (Optuna's GridSampler), so this order is ours.

    Raises:
        UserError: a double has no step.
    """
    names = [parameter.name for parameter in parameters]
    for values in itertools.product(*(parameter.grid() for parameter in parameters)):
        yield dict(zip(names, values, strict=True))
