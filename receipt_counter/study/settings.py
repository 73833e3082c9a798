"""What a study file says: typed, bounded and documented where it is declared, like the config."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from receipt_counter.config.keys import group, key

MINIMISED = (
    "val_total_loss",
    "val_cls_loss",
    "val_lm_loss",
    "generation_perplexity",
    "classification_ece",
    "classification_off_by_one",
)
MAXIMISED = (
    "classification_accuracy",
    "classification_precision",
    "classification_recall",
    "classification_f1",
    "answer_accuracy",
    "generation_bleu1",
    "generation_bleu2",
    "generation_bleu3",
    "generation_bleu4",
    "generation_bleu",
    "generation_rouge1_f",
    "generation_rouge2_f",
    "generation_rougeL_f",
)
METRICS = (*MAXIMISED, *MINIMISED)
PRIORITY = ("classification_accuracy", "generation_bleu", "generation_rouge1_f")
ONE_AT_A_TIME, FULL, FRACTIONAL = DESIGNS = ("one-at-a-time", "full-factorial", "fractional-factorial")
ALGORITHMS = ("random", "grid", "tpe", "multivariate-tpe", "bayesianoptimization", "cmaes", "sobol")


@dataclass(frozen=True)
class Objective:
    """What a search makes as good as it can."""

    metric: str = key("classification_accuracy", "Metric on val, the mean over the seeds.", choices=METRICS)
    goal: float | None = key(None, "The search ends when a trial reaches it; null: never.")

    @property
    def maximise(self) -> bool:
        """Whether more is better."""
        return self.metric in MAXIMISED


@dataclass(frozen=True)
class Algorithm:
    """How a search chooses what to try next; further settings are passed to it as they are."""

    name: str = key("tpe", "Katib's name of the algorithm.", choices=ALGORITHMS)
    random_state: int = key(0, "Seed of the algorithm itself.", minimum=0)


@dataclass(frozen=True)
class Budget:
    """What a study may spend."""

    trials: int = key(24, "Trials of a search (an ablation runs all its variants).", minimum=1)
    failed_trials: int = key(3, "The study fails when more trials than this have failed.", minimum=0)
    device_hours: float | None = key(None, "Planning refuses a study expected to take more; null: no limit.", above=0)


@dataclass(frozen=True)
class EarlyStopping:
    """Whether hopeless trials of a search are stopped before their end."""

    algorithm: str | None = key(None, "medianstop, or null for none.", choices=(None, "medianstop"))
    min_trials_required: int = key(3, "Trials that must have ended before one may be stopped.", minimum=1)
    start_step: int = key(4, "Reported values of a trial before it may be stopped.", minimum=1)


@dataclass(frozen=True)
class StudySettings:
    """All of a study file but its parameters, or its variants."""

    base_name: str = key("study", "Name of the study and beginning of its trials' names.")
    seeds: tuple[int, ...] = key((42, 43), "Seeds every variant is trained with.", minimum=0)
    confirmation_seeds: tuple[int, ...] = key(
        (101, 102, 103), "Seeds with which a search's winner and the baseline are trained and tested.", minimum=0
    )
    priority_metrics: tuple[str, ...] = key(PRIORITY, "Metrics to look at first.", choices=METRICS)
    parallelism: int = key(2, "Trials that run at the same time.", minimum=1)
    objective: Objective = group(Objective, "What a search makes as good as it can.")
    algorithm: Algorithm = group(Algorithm, "How a search chooses what to try next.")
    budget: Budget = group(Budget, "What the study may spend.")
    early_stopping: EarlyStopping = group(EarlyStopping, "Whether hopeless trials are stopped.")


@dataclass(frozen=True)
class Design:
    """Which variations of an ablation are also tried together."""

    name: str = key(ONE_AT_A_TIME, "How variations are combined.", choices=DESIGNS)
    factors: tuple[str, ...] = key((), "Variations that a factorial design combines.")
    resolution: int | None = key(
        None, "Of a fraction: 3 keeps main effects apart from each other, 4 also from pairs, 5 also pairs.", minimum=3
    )


@dataclass(frozen=True)
class SearchParameter:
    """One key that a search varies.

    Attributes:
        key: dotted name in the config.
        values: the values tried; empty where there is a range.
        low, high: inclusive ends of the range.
        step: distance of the values of a range; None: any value.
        log: whether the range is searched on a logarithmic scale.
        place: where it was written.
    """

    key: str
    values: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    place: str = ""

    def probes(self) -> Iterator[Any]:
        """Values to try the config with: all of a list, the ends of a range."""
        yield from self.values or (self.low, self.high)
