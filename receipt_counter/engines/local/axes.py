"""How a parameter of an Experiment looks to Optuna, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from receipt_counter.katib.space import Parameter

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

NORMAL = ("normal", "logNormal")
_SIGMAS = 6.0  # between the bounds of a normally distributed parameter, as in Katib


class Axis:
    """One parameter.

    Values with a step are snapped to the parameter's grid. A normal distribution has its mean in the middle of the
    bounds and a sixth of their distance as its deviation, as in Katib, and ends at the bounds: Optuna is asked for
    the quantile, uniform between 0 and 1. Logarithmic distributions are the same over the logarithm.
    """

    def __init__(self, parameter: Parameter) -> None:
        self.parameter = parameter
        self.is_normal = parameter.distribution in NORMAL
        self.is_log = parameter.log or (parameter.distribution or "").startswith("log")
        is_coarse = parameter.step is not None and (parameter.kind != "int" or parameter.step != 1)
        self._steps = parameter.grid() if is_coarse and not parameter.values else ()
        if self.is_normal:
            low, high = self._bounds()
            self._normal = NormalDist((low + high) / 2, max((high - low) / _SIGMAS, 1e-300))
            self._quantiles = self._normal.cdf(low), self._normal.cdf(high)

    @property
    def is_numeric(self) -> bool:
        """Whether Optuna sees an order in the values."""
        return not self.parameter.values

    @property
    def size(self) -> float:
        """How many values there are; infinity for a continuous one."""
        if self.parameter.values:
            return len(set(self.parameter.values))
        if self.parameter.kind == "double" and not self.parameter.step:
            return math.inf
        low, high = self._ends()
        return math.floor((high - low) / (self.parameter.step or 1) + 1e-9) + 1

    @property
    def first(self) -> Any:
        """One of Optuna's values."""
        if self.parameter.values:
            return self.parameter.values[0]
        low, _ = self._ends()
        return 0.0 if self.is_normal else int(low) if self.parameter.kind == "int" else low

    @property
    def distribution(self) -> BaseDistribution:
        """What Optuna samples from."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.parameter.values:
            return CategoricalDistribution(tuple(dict.fromkeys(self.parameter.values)))
        low, high = self._ends()
        if self.is_normal:
            return FloatDistribution(0.0, 1.0)
        step = None if self.is_log else self.parameter.step
        if self.parameter.kind == "int":
            return IntDistribution(int(low), int(high), log=self.is_log, step=int(step or 1))
        return FloatDistribution(low, high, log=self.is_log, step=step)

    def text(self, value: Any) -> str:
        """Optuna's value as the trial gets it."""
        if self.parameter.values:
            return str(value)
        number = self._from_quantile(float(value)) if self.is_normal else float(value)
        if self._steps:
            low, _ = self._ends()
            place = round((number - low) / (self.parameter.step or 1.0))
            return self._steps[min(max(place, 0), len(self._steps) - 1)]
        return str(round(number)) if self.parameter.kind == "int" else repr(number)

    def value(self, text: str) -> Any:
        """The inverse of `text`."""
        if self.parameter.values:
            return text
        if self.is_normal:
            first, last = self._quantiles
            return (self._normal.cdf(self._scale(float(text))) - first) / (last - first)
        return int(text) if self.parameter.kind == "int" else float(text)

    def _from_quantile(self, quantile: float) -> float:
        low, high = self._ends()
        first, last = self._quantiles
        place = self._normal.inv_cdf(first + quantile * (last - first))
        return min(max(math.exp(place) if self.is_log else place, low), high)

    def _scale(self, number: float) -> float:
        return math.log(number) if self.is_log else number

    def _bounds(self) -> tuple[float, float]:
        low, high = self._ends()
        return self._scale(low), self._scale(high)

    def _ends(self) -> tuple[float, float]:
        assert self.parameter.low is not None
        assert self.parameter.high is not None
        return self.parameter.low, self.parameter.high


def space_size(axes: Sequence[Axis]) -> float:
    """How many combinations there are; infinity where a parameter is continuous."""
    return math.prod(axis.size for axis in axes)
