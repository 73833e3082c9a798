"""What the monitor's API answers, field by field; OpenAPI shows these descriptions."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["running", "stale", "interrupted", "failed", "diverged", "finished", "unreadable"]
STATUS_HELP = (
    "As run.json says it; `stale`: running without a sign of life for ten minutes; `unreadable`: there is a run.json"
    " that is none, and `error` says why."
)


class Answer(BaseModel):
    """A model whose fields are closed."""

    model_config = ConfigDict(extra="forbid")


class Progress(Answer):
    """How far training is."""

    epoch: int | None = Field(description="The epoch that is being trained, counted from 1.")
    epochs: int | None = Field(description="Epochs it will train, unless it stops early.")
    step: int | None = Field(description="Optimizer steps taken.")
    fraction: float | None = Field(description="0 to 1; null while it cannot be told.")


class Experiment(Answer):
    """A run in a line."""

    id: str = Field(description="Name of the run's directory; stands in the addresses of everything about it.")
    name: str = Field(description="The experiment's name.")
    status: Status = Field(description=STATUS_HELP)
    progress: Progress
    eta_seconds: float | None = Field(description="Expected seconds to the end; null unless it runs and can be told.")
    started: str | None = Field(description="ISO 8601.")
    ended: str | None = Field(description="ISO 8601; null while it runs.")
    updated: str = Field(description="Its last sign of life, ISO 8601.")
    device_seconds: float | None = Field(description="Seconds of training, times processes.")
    seed: int | None
    study: str | None = Field(description="Id of the study it belongs to.")
    trial: str | None = Field(description="Name of the trial it belongs to.")
    variant: str | None = Field(
        description="What runs that differ only in the seed have in common: a variant's or a trial's name."
    )
    metrics: dict[str, float] = Field(
        description="Its figures: those of run.json, before that the latest of each epoch on val."
    )
    objective: float | None = Field(description="What its study looks at first; counting accuracy without a study.")
    error: str | None = Field(description="What went wrong, in a line.")


class Scanning(Answer):
    """How far the first reading is."""

    done: int = Field(description="Runs read.")
    total: int = Field(description="Runs there are.")


class Experiments(Answer):
    """All runs that the filter leaves."""

    generated_at: str
    scanning: Scanning | None = Field(description="Null once everything was read.")
    total: int = Field(description="Runs there are without the filter.")
    experiments: list[Experiment]


class ConfigKey(Answer):
    """A key of a run's config."""

    key: str = Field(description="Dotted name.")
    value: Any
    default: Any = Field(description="In the preset that is most like the run's config.")
    baseline: Any = Field(description="In the config that its study varies; null without a study.")
    differs: bool = Field(description="From the baseline where there is one, else from the default.")


class StageStart(Answer):
    """Where a training stage began."""

    stage: int
    step: int
    epoch: int | None


class RunError(Answer):
    """What went wrong."""

    message: str
    log: list[str] = Field(description="Last lines of its log, if one is there.")


class ExperimentDetail(Experiment):
    """Everything about a run but its points and predictions."""

    preset: str | None = Field(description="The preset that is most like its config, where `default` comes from.")
    config: list[ConfigKey]
    config_problem: str | None = Field(description="Why there is no config.")
    lineage: dict[str, Any] = Field(description="What it was made by and from.")
    stages: list[StageStart]
    epoch_steps: list[int] = Field(description="The last step of each epoch.")
    failure: RunError | None
    splits: list[str] = Field(description="Splits that it was judged on, the most important first.")
    tags: list[str] = Field(description="What its event files hold.")
    points: int = Field(description="Points of all tags together.")
    notes: list[str] = Field(description="What could not be read and other things to know.")


class Series(Answer):
    """The points of a tag, thinned so that no peak is lost."""

    step: list[int]
    time: list[float] = Field(description="Seconds since 1970 by the clock of the machine that trained.")
    value: list[float | None] = Field(description="Null where it was nan or infinite.")
    total: int = Field(description="Points in the range before thinning.")


class Metrics(Answer):
    """Curves of a run."""

    tags: dict[str, Series]


class Estimate(Answer):
    """A figure with its 95 % interval."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Gate(Estimate):
    """A promotion gate."""

    target: float
    minimum: float
    verdict: Literal["target", "minimum", "failed", "unknown"]
    lower_is_better: bool


class SplitSummary(Answer):
    """How a run did on a split."""

    images: int | None
    questions: int | None
    metrics: dict[str, Estimate]
    answer_accuracy_by_type: dict[str, Any]
    per_class: dict[str, Any]
    calibration: list[Any]
    gates: dict[str, Gate]
    verdict: Literal["target", "minimum", "failed", "unknown"] = Field(description="The worst of the gates.")


class Summary(Answer):
    """How a run did, the most important split first."""

    splits: dict[str, SplitSummary]
    notes: list[str]


class Confusion(Answer):
    """A confusion matrix."""

    split: str
    labels: list[str]
    matrix: list[list[float]] = Field(description="Rows: true classes; columns: predicted ones.")


class Slices(Answer):
    """How a run did on parts of a split."""

    split: str
    overall: dict[str, Estimate]
    slices: dict[str, dict[str, Any]] = Field(description="{slice: {value: {n, figure: {value, low, high}}}}.")


class AnswerGiven(Answer):
    """A question, what is true and what the model said."""

    type: str
    question: str
    truth: str
    predicted: str
    correct: bool


class Mistake(Answer):
    """An image that the model got wrong."""

    id: str
    image: str | None = Field(description="Address of the picture, relative to the API's root; null: not here.")
    thumbnail: str | None = Field(description="Address of a small copy, or of the picture itself; null: not here.")
    truth: str = Field(description="The true number of receipts.")
    predicted: str = Field(description="The class that was predicted.")
    confidence: float | None
    miscounted: bool
    slices: dict[str, str]
    answers: list[AnswerGiven]


class Mistakes(Answer):
    """A page of the gallery."""

    split: str
    total: int = Field(description="Mistakes of this kind.")
    offset: int
    mistakes: list[Mistake]
    fetching: bool = Field(description="Whether pictures that are not here are on their way: ask again.")
    note: str | None = Field(description="Why some pictures are not here; null if all are.")


class Log(Answer):
    """The end of a log."""

    source: str | None = Field(description="Which log it is; null if there is none.")
    lines: list[str]
    truncated: bool = Field(description="Whether there is more before the first line.")


class ConfigDifference(Answer):
    """A key that is not the same in all runs compared."""

    key: str
    values: dict[str, Any] = Field(description="{run: value}.")


class Curve(Answer):
    """A curve of a run."""

    step: list[int]
    value: list[float | None]


class Band(Answer):
    """The mean of runs that differ only in the seed, at steps that all of them have."""

    step: list[int]
    mean: list[float]
    low: list[float] = Field(description="The lowest run.")
    high: list[float] = Field(description="The highest run.")
    n: int = Field(description="Runs.")
    experiments: list[str] = Field(description="Their ids.")


class Comparison(Answer):
    """Runs side by side."""

    experiments: list[Experiment]
    split: dict[str, str | None] = Field(description="{run: the split its figures were measured on}.")
    metrics: dict[str, dict[str, Estimate]] = Field(description="{figure: {run: estimate}}.")
    best: dict[str, str] = Field(description="{figure: the best run}; of runs measured on the same split.")
    higher_is_better: dict[str, bool]
    config_diff: list[ConfigDifference]
    tags: list[str] = Field(description="What the event files of these runs hold.")
    curves: dict[str, dict[str, Curve]] = Field(description="{tag: {run: curve}}.")
    groups: dict[str, dict[str, Band]] = Field(description="{tag: {group: band}}; empty for `group=none`.")
    missing: list[str] = Field(description="Ids asked for that there are no runs of.")


class Change(Answer):
    """What the stream sends: `event: change`, `id:` the version, `data:` this."""

    version: int
    experiments: list[str] = Field(description="Ids of runs that changed, appeared or vanished.")
    studies: list[str]
    all: bool = Field(description="Whether anything may have changed: the connection was lost for too long.")


class Health(Answer):
    """Whether the monitor is alive."""

    status: Literal["ok", "failing"]
    version: str
    experiments: int
    studies: int
    scanning: Scanning | None
    last_scan_seconds_ago: float | None
    problem: str | None


class ReportComparison(Answer):
    """Finished runs side by side."""

    experiments: list[str]
    metrics: dict[str, dict[str, float]] = Field(description="{figure: {run: value}}.")
    best: dict[str, dict[str, Any]] = Field(description="{figure: {experiment, value}}.")
    higher_is_better: dict[str, bool]


class Report(Answer):
    """The summary report of the whole folder."""

    generated_at: str
    experiments_dir: str
    experiments: list[str] = Field(description="Ids of all runs, the latest first.")
    experiment_data: dict[str, dict[str, Any]] = Field(description="{run: what is known of it}.")
    comparison: ReportComparison
    studies: dict[str, dict[str, Any]] = Field(description="{study: kind, progress, best, findings}.")
    statuses: dict[str, int] = Field(description="{status: number of runs}.")
    device_hours: float
    notes: list[str]
