"""What the monitor's API answers about studies, field by field; OpenAPI shows these descriptions."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from receipt_counter.monitor.schemas import Answer


class StudyProgress(Answer):
    """How far a study is."""

    done: int = Field(description="Trials that ended.")
    total: int | None = Field(description="Trials it may have.")
    running: int
    failed: int
    fraction: float | None


class BestTrial(Answer):
    """The best trial so far."""

    trial: str
    metric: str
    value: float
    parameters: dict[str, Any]


class Study(Answer):
    """A study in a line."""

    id: str
    name: str
    kind: Literal["ablation", "hyperparameter", "unknown"]
    status: Literal["running", "stale", "finished", "unreadable"] = Field(
        description="`finished`: its sweep said so; `stale`: unfinished without a sign of life for ten minutes."
    )
    progress: StudyProgress
    eta_seconds: float | None
    started: str | None
    updated: str
    device_seconds: float
    objective: str | None = Field(description="The metric it looks at first.")
    best: BestTrial | None
    experiments: list[str] = Field(description="Ids of its runs.")
    error: str | None


class Studies(Answer):
    """All studies."""

    generated_at: str
    studies: list[Study]


class Parameter(Answer):
    """What a study varies."""

    name: str
    type: str
    values: list[str]
    low: str | None
    high: str | None


class PlannedVariant(Answer):
    """A variation that a study tries."""

    name: str
    family: str
    changes: str


class Plan(Answer):
    """What a study was to do."""

    algorithm: str | None
    objective: str | None
    goal: float | None
    higher_is_better: bool | None
    priority_metrics: list[str]
    seeds: list[int]
    split: str | None
    max_trials: int | None
    parallel_trials: int | None
    parameters: list[Parameter]
    variants: list[PlannedVariant]
    problem: str | None = Field(description="What of it cannot be read, as of another version; null: all can.")


class Trial(Answer):
    """A row of a study's table."""

    trial: str
    status: str = Field(description="As the engine says it; `running`: it has begun and not ended.")
    parameters: dict[str, Any]
    metrics: dict[str, float | None]
    started: str | None
    ended: str | None
    seconds: float | None
    message: str | None
    experiments: list[str] = Field(description="Ids of its runs.")


class StudyDetail(Study):
    """Everything about a study but its figures."""

    plan: Plan | None
    trials: list[Trial]
    failures: list[Trial] = Field(description="The trials that failed.")
    findings: list[str]
    analysis: dict[str, Any] | None = Field(
        description="As analysis.json has it (docs/ANALYSIS.md); computed from the trials so far while there is none."
    )
    analysis_state: Literal["final", "live", "computing", "unavailable"] = Field(
        description="`live`: of the trials so far; `computing`: a newer one is on its way, the stream tells when."
    )
    analysis_problem: str | None


class Figures(Answer):
    """A study's figures, as the report draws them."""

    state: Literal["final", "live", "computing", "unavailable"]
    problem: str | None
    figures: dict[str, dict[str, Any]] = Field(description="{name: plotly figure}.")
