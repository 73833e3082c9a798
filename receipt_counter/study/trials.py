"""What became of a study's trials: which gave no figures and their last words, and what all of them cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from receipt_counter.config.loading import to_plain
from receipt_counter.storage.files import read_json

if TYPE_CHECKING:
    import pandas as pd

SUCCEEDED, EARLY_STOPPED = "succeeded", "early-stopped"
FAILURES = ("failed", "metrics-unavailable")
_SAID = {  # status: how the trials with it are spoken of
    SUCCEEDED: "that succeeded",
    EARLY_STOPPED: "stopped early",
    "failed": "that failed",
    "metrics-unavailable": "without a figure",
}
_HOUR = 3600


def read_trials(study: Path, text_columns: tuple[str, ...] = ()) -> pd.DataFrame | None:
    """A study's `trials.csv`, with the last lines of those that failed as a column `log`.

    Args:
        study: the study's directory.
        text_columns: columns whose values are not to be taken for numbers.

    Returns:
        A row per trial that ended; None where none has.
    """
    import pandas as pd

    file = study / "trials.csv"
    if not file.exists():
        return None
    frame = pd.read_csv(file, dtype=dict.fromkeys(text_columns, str))
    frame["log"] = [_log(study / "trials" / str(name) / "trial.json") for name in frame["trial"]]
    return frame


def _log(record: Path) -> list[str]:
    return list(read_json(record)["log"]) if record.exists() else []


def failures(frame: pd.DataFrame, values: pd.DataFrame) -> dict[str, Any]:
    """Trials without figures and why, and how many trials ended how.

    Args:
        frame: a row per trial, as `read_trials` gives it; `message` and `log` may be missing.
        values: of the trials' parameters, in rows of the same index.
    """
    failed = frame[frame["status"].isin(FAILURES)].reindex(columns=["trial", "status", "message", "log"])
    rows = [
        {
            "trial": str(found["trial"]),
            "status": str(found["status"]),
            "parameters": {str(key): to_plain(values.loc[row, key]) for key in values.columns},
            "message": found["message"] if isinstance(found["message"], str) else "",
            "log": found["log"] if isinstance(found["log"], list) else [],
        }
        for row, found in zip(failed.index, failed.to_dict("records"), strict=True)
    ]
    counts = {str(status): int(count) for status, count in frame["status"].value_counts().items()}
    return {"trials": rows, "counts": counts}


def cost(frame: pd.DataFrame, devices: int) -> dict[str, Any]:
    """What the trials took; of those stopped early also what that saved.

    Args:
        frame: a row per trial with its `status` and `seconds`.
        devices: how many a trial keeps busy.

    Returns:
        `device_seconds`, the same `by_status`, and `saved_by_early_stopping`: how much less the stopped trials took
        than the median of those that succeeded; None where none was stopped or nothing is known to compare with.
    """
    import pandas as pd

    seconds = devices * pd.to_numeric(frame.reindex(columns=["seconds"])["seconds"], errors="coerce").fillna(0.0)
    whole, stopped = (seconds[frame["status"] == status] for status in (SUCCEEDED, EARLY_STOPPED))
    saved = float((whole.median() - stopped).clip(lower=0).sum()) if len(whole) and len(stopped) else None
    return {
        "device_seconds": float(seconds.sum()),
        "by_status": {str(status): float(sum_) for status, sum_ in seconds.groupby(frame["status"]).sum().items()},
        "saved_by_early_stopping": saved,
    }


def cost_sentences(analysis: Mapping[str, Any]) -> list[str]:
    """What a study cost, for people.

    Args:
        analysis: the content of `analysis.json`, of either kind.

    Returns:
        Nothing where no trial is known of: the runs behind the study were found without it.
    """
    spent, counts = analysis["cost"], analysis["failures"]["counts"]
    if not counts:
        return []
    ended = {status: f"{count} {_SAID.get(status, status)}" for status, count in counts.items()}
    parts = ", ".join(f"{hours(spent['by_status'][status])} for {text}" for status, text in ended.items())
    what = f"its trials: {parts}" if len(ended) > 1 else f"its trials, {next(iter(ended.values()))}"
    said = [f"The study spent {hours(spent['device_seconds'])} device-hours on {what}."]
    if spent["saved_by_early_stopping"] is not None:
        saved = hours(spent["saved_by_early_stopping"])
        said.append(f"Early stopping saved about {saved} device-hours, had the stopped trials taken the usual time.")
    return said


def hours(seconds: float) -> str:
    """Seconds as hours, in as many digits as mean something: "0.0042", "1.3", "212"."""
    value = seconds / _HOUR
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
