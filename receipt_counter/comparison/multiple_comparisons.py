"""Correction for asking many questions at once.

Three seeds leave two degrees of freedom, and Holm's correction over 10 variations x 3 metrics asks a t of 24 of each.
So the level is not shared out equally: the questions about one metric share it by their mean squares around 0,

    (effect^2 + df se^2) / (1 + df).

That looks at the data, and yet cannot favour a false finding: where nothing differs, a question's mean square around 0
says nothing of its t (the one is the length of the seeds' differences, the other their direction), however the
questions depend on each other and however much more some variations spread over seeds than others. Large effects have
large mean squares and are tested at nearly the whole level; what spreads a lot without an effect only takes power away.
The more seeds, the less that is needed: weights are mean squares to the power of 2 / (seeds - 1), at most 1, and nearly
equal where seeds are many. That power must not depend on degrees of freedom, which depend on t.

- Westfall, Kropf and Finos (2004), "Weighted FWE-controlling methods in high-dimensional situations".
- Kropf and Läuter (2002), "Multiple tests for different sets of variables using a data-driven ordering of hypotheses".
- Holm (1979), "A simple sequentially rejective multiple test procedure", which has weights already.

Exact for normal differences between seeds. `benchmarks/coverage.py` shows what images and 0/1 scores change; what seeds
do that are skewed and spread ten times as much in one variation (3 seeds: that variation's intervals cover 88 %, false
findings come in 10 % of the studies, 5 % with equal weights); and what the other way would do, variances moderated by
those of the other variations: false findings in a third of the studies though all is normal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import numpy as np

from receipt_counter.comparison.effects import Array, Effect

K = TypeVar("K", bound=Hashable)


def with_holm(effects: Mapping[K, Effect], metric_of: Callable[[K], Hashable] | None = None) -> dict[K, Effect]:
    """The same effects with `p_holm`: the probability of a false finding anywhere in the family stays below the level.

    Args:
        effects: the whole family, such as variations x priority metrics.
        metric_of: the metric of a key: the questions about one metric weigh by their mean squares around 0 (see the
            module). Without it all weigh the same.
    """
    if not effects:
        return {}
    found = list(effects.values())
    weights = np.ones(len(found))
    if metric_of is not None:
        metrics = [metric_of(key) for key in effects]
        for metric in dict.fromkeys(metrics):
            rows = [row for row, other in enumerate(metrics) if other == metric]
            parts = np.array([(e.effect, e.se, e.df, e.n_seeds) for e in (found[row] for row in rows)])
            weights[rows] = question_weights(*parts.T)
    corrected = holm(np.array([effect.p for effect in found]), weights)
    return {
        key: dataclasses.replace(effect, p_holm=float(p))
        for (key, effect), p in zip(effects.items(), corrected, strict=True)
    }


def question_weights(effect: Array, se: Array, df: Array, seeds: Array | int) -> Array:
    """Weights of the questions about one metric, 1 where all are alike; what changes nothing weighs nothing.

    Args:
        effect, se, df, seeds: [questions, ...], as `Effect` has them. With one seed all weigh 1.
    """
    squares = (effect**2 + df * se**2) / (1 + df)
    relative = np.divide(squares, squares.mean(axis=0), out=np.zeros_like(squares), where=squares > 0)
    seeds = np.asarray(seeds)
    exponent = np.where(seeds > 1, np.minimum(1.0, 2 / np.maximum(seeds - 1, 1)), 0.0)
    return np.asarray(relative**exponent)


def holm(p: Array, weights: Array) -> Array:
    """Holm's corrected p-values, of one or many families at once.

    Args:
        p: p-values [..., questions].
        weights: of the same shape, in any unit; what weighs nothing is never found.
    """
    needed = np.divide(p, weights, out=np.full(p.shape, np.inf), where=weights > 0)
    order = np.argsort(needed, axis=-1)
    left = np.take_along_axis(weights, order, axis=-1)[..., ::-1].cumsum(axis=-1)[..., ::-1]
    steps = np.take_along_axis(needed, order, axis=-1)
    steps = np.multiply(steps, left, out=np.ones_like(steps), where=np.isfinite(steps))
    corrected: Array = np.empty_like(steps)
    np.put_along_axis(corrected, order, np.minimum(np.maximum.accumulate(steps, axis=-1), 1.0), axis=-1)
    return corrected
