"""What each trial tries: Katib's algorithms, through Optuna where it has them.

A suggester is asked for trial 0, 1, 2, ... in this order and answers from the document and the results it is shown,
never from the clock: asked again from the start with the same results it answers the same, which is how an interrupted
sweep continues.
"""

from __future__ import annotations

import functools
import itertools
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from receipt_counter.engines.base import UNSUCCESSFUL, Objective, TrialResult
from receipt_counter.engines.local.algorithms import Algorithm
from receipt_counter.engines.local.axes import Axis, space_size
from receipt_counter.engines.local.hyperband import Hyperband
from receipt_counter.katib.space import Parameter, grid

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import BaseSampler

Assignments = dict[str, str]
LARGEST_FINITE_SPACE = 100_000  # in larger ones nothing comes twice but by a rare chance
DEFAULT_SEED = 0
TRIES = 20  # to get something new from a sampler before a new point is drawn at random


class Suggester(Protocol):
    """Says what trials try."""

    @property
    def total(self) -> int | None:
        """How many trials it can suggest, or None for any number."""

    def waits_for(self, index: int) -> Sequence[int]:
        """Trials that must have ended before this one can be suggested, beside those of the sweep's window."""

    def suggest(self, index: int, results: Mapping[int, TrialResult]) -> Assignments | None:
        """The assignments of the next trial, or None if there is nothing to try in its place.

        Args:
            index: one more than the last time, from 0.
            results: the trials it may learn from.
        """

    def correct(self, index: int, assignments: Assignments) -> None:
        """Trial `index` tries something else than was suggested: another version of Optuna made it."""


class Grid:
    """Every combination once, the last parameter fastest; in a random order if there is a seed."""

    def __init__(self, parameters: Sequence[Parameter], seed: int | None) -> None:
        self._parameters = parameters
        self._points = list(grid(parameters))
        if seed is not None:
            random.Random(seed).shuffle(self._points)

    @property
    def total(self) -> int | None:
        """The number of combinations."""
        return len(self._points)

    def waits_for(self, index: int) -> Sequence[int]:
        """Nothing."""
        return ()

    def suggest(self, index: int, results: Mapping[int, TrialResult]) -> Assignments | None:
        """The combination in this place."""
        return self._points[index]

    def correct(self, index: int, assignments: Assignments) -> None:
        """Nothing depends on it."""


class OptunaSuggester:
    """Asks one of Optuna's samplers, and tells it the results in the order of the trials.

    In a finite space no point is suggested twice: a repeated one is asked again, and in the end drawn at random from
    what is left.

    Args:
        sampler: the sampler.
        parameters: the search space.
        objective: what is told.
        learns: whether the sampler wants to know results.
        unique: whether repeated points of a small finite space are replaced.
        seed: of the random draws.
    """

    def __init__(
        self,
        sampler: BaseSampler,
        parameters: Sequence[Parameter],
        objective: Objective,
        *,
        learns: bool,
        unique: bool,
        seed: int,
    ) -> None:
        import optuna

        self._axes = {parameter.name: Axis(parameter) for parameter in parameters}
        self._distributions = {name: axis.distribution for name, axis in self._axes.items()}
        self._parameters = tuple(parameters)
        self._learns = learns
        size = space_size(list(self._axes.values()))
        self._size = int(size) if unique and size <= LARGEST_FINITE_SPACE else None
        self._seed = seed
        direction = optuna.study.StudyDirection.MAXIMIZE if objective.maximize else optuna.study.StudyDirection.MINIMIZE
        self._study = optuna.create_study(sampler=sampler, direction=direction)
        self._asked: dict[int, optuna.trial.Trial | None] = {}
        self._assignments: dict[int, Assignments] = {}
        self._told = 0
        if not learns:
            # A quasi-random sequence begins once a finished trial shows the space.
            self._add({name: axis.first for name, axis in self._axes.items()}, 0.0)

    @property
    def total(self) -> int | None:
        """The number of combinations in a small finite space."""
        return self._size

    def waits_for(self, index: int) -> Sequence[int]:
        """Nothing beside the window."""
        return ()

    def suggest(self, index: int, results: Mapping[int, TrialResult]) -> Assignments:
        """Tell what is known, then ask."""
        if self._learns:
            while self._told < index and self._told in results:
                self._tell(results[self._told])
                self._told += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assignments = self._ask(index)
        self._assignments[index] = assignments
        return assignments

    def correct(self, index: int, assignments: Assignments) -> None:
        """Remember what the trial really tries; Optuna is told of it with its result."""
        self._forget(index)
        self._assignments[index] = assignments

    def _ask(self, index: int) -> Assignments:
        tried = {tuple(known.items()) for known in self._assignments.values()} if self._size is not None else set()
        for _ in range(TRIES):
            trial = self._study.ask(self._distributions)
            self._asked[index] = trial
            assignments = {name: axis.text(trial.params[name]) for name, axis in self._axes.items()}
            if tuple(assignments.items()) not in tried:
                return assignments
            self._forget(index)
        left = [point for point in grid(self._parameters) if tuple(point.items()) not in tried]
        return random.Random(f"{self._seed} {index}").choice(left)

    def _forget(self, index: int) -> None:
        import optuna

        trial = self._asked.pop(index, None)
        if trial is not None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)

    def _tell(self, result: TrialResult) -> None:
        import optuna

        value = None if result.status in UNSUCCESSFUL else result.objective
        trial = self._asked.pop(result.index, None)
        if trial is not None:
            state = optuna.trial.TrialState.FAIL if value is None else optuna.trial.TrialState.COMPLETE
            self._study.tell(trial, value, state)
        elif value is not None:
            assignments = self._assignments[result.index]
            self._add({name: axis.value(assignments[name]) for name, axis in self._axes.items()}, value)

    def _add(self, params: dict[str, Any], value: float) -> None:
        import optuna

        self._study.add_trial(optuna.trial.create_trial(params=params, distributions=self._distributions, value=value))


class HyperbandSuggester(Hyperband):
    """Hyperband over points from Optuna's random sampler."""

    def correct(self, index: int, assignments: Assignments) -> None:
        """What goes on is read from the results, not from the suggestions."""


def make_suggester(algorithm: Algorithm, parameters: Sequence[Parameter], objective: Objective) -> Suggester:
    """The suggester of an algorithm whose settings have been checked."""
    settings = algorithm.settings
    if algorithm.name == "grid":
        return Grid(parameters, settings.get("seed"))
    is_hyperband = algorithm.name == "hyperband"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna warns of what is experimental, and where it samples at random
        suggester = OptunaSuggester(
            _sampler("random" if is_hyperband else algorithm.name, {} if is_hyperband else settings),
            parameters,
            objective,
            learns=algorithm.learns,
            unique=not is_hyperband,
            seed=settings.get("seed", DEFAULT_SEED),
        )
    if not is_hyperband:
        return suggester
    counter = itertools.count()
    return HyperbandSuggester(
        settings["resource_name"],
        settings["r_l"],
        settings["eta"],
        lambda: suggester.suggest(next(counter), {}),
        objective,
    )


def _sampler(algorithm: str, settings: Mapping[str, Any]) -> BaseSampler:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seed = settings.get("seed", DEFAULT_SEED)
    if algorithm == "sobol":
        # Katib's has no settings: the plain sequence; the seed is of the parameters it does not order
        return optuna.samplers.QMCSampler(qmc_type="sobol", scramble=False, seed=seed)
    makers: dict[str, Callable[..., BaseSampler]] = {
        "random": optuna.samplers.RandomSampler,
        "tpe": functools.partial(optuna.samplers.TPESampler, multivariate=False),
        "multivariate-tpe": functools.partial(optuna.samplers.TPESampler, multivariate=True),
        "bayesianoptimization": optuna.samplers.GPSampler,
        "cmaes": optuna.samplers.CmaEsSampler,
    }
    return makers[algorithm](**{**settings, "seed": seed})
