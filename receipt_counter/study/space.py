"""Stand-in: dropped when the real module arrives."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from kubeflow_katib_api.models import V1beta1Experiment


@dataclass(frozen=True)
class Parameter:
    name: str
    kind: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    distribution: str = "uniform"
    values: tuple[str, ...] = ()

    def grid(self) -> tuple[str, ...]:
        if self.values:
            return self.values
        assert self.low is not None and self.high is not None
        low, high, step = (Decimal(repr(v)) for v in (self.low, self.high, self.step or 1.0))
        points = [low + step * i for i in range(int((high - low) / step) + 1)]
        return tuple(str(int(p)) if self.kind == "int" else repr(float(p)) for p in points)


def search_space(experiment: V1beta1Experiment) -> tuple[Parameter, ...]:
    found = []
    for p in experiment.spec.parameters or []:  # type: ignore[union-attr]
        f = p.feasible_space
        assert f is not None and p.name and p.parameter_type
        d = f.distribution or "uniform"
        if f.list:
            found.append(Parameter(p.name, p.parameter_type, values=tuple(f.list)))
        else:
            found.append(
                Parameter(
                    p.name, p.parameter_type, float(f.min or 0), float(f.max or 0),
                    float(f.step) if f.step else None, d in ("logUniform", "logNormal"), d,
                )
            )
    return tuple(found)


def grid(parameters: Sequence[Parameter]) -> Iterator[dict[str, str]]:
    names = [p.name for p in parameters]
    for values in itertools.product(*(p.grid() for p in parameters)):
        yield dict(zip(names, values, strict=True))
