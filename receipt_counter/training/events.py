"""What training says: TensorBoard events of the run, and `name=value` lines on standard output."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from receipt_counter.config.schema import Config, leaves

CUSTOM_SCALARS = {
    "losses": {
        "total": ["Multiline", ["train_total_loss", "val_total_loss"]],
        "counting": ["Multiline", ["train_cls_loss", "val_cls_loss"]],
        "answers": ["Multiline", ["train_lm_loss", "val_lm_loss"]],
    },
    "counting": {"figures": ["Multiline", ["classification_.*"]]},
    "answers": {
        "BLEU": ["Multiline", ["generation_bleu[1-4]"]],
        "ROUGE": ["Multiline", ["generation_rouge.*"]],
        "exact": ["Multiline", ["answer_accuracy"]],
    },
    "optimisation": {
        "learning rates": ["Multiline", ["learning_rate_.*"]],
        "gradient norms": ["Multiline", ["grad_norm.*"]],
        "stage": ["Multiline", ["stage"]],
    },
}


class EventLog:
    """Writes figures as TensorBoard scalars and as lines that Katib's collector reads.

    nan and infinity are left out of the lines (they break the collector) and of the events alike.

    Args:
        directory: the run's events directory.
        config: its values become the hyperparameters of TensorBoard's HParams tab.
        first_step: optimizer steps already taken; later events of an earlier, killed process are purged.
        lead: whether this process speaks for all; the others write nothing.
    """

    def __init__(self, directory: Path, config: Config, first_step: int, *, lead: bool = True) -> None:
        if lead and not first_step:
            shutil.rmtree(directory, ignore_errors=True)  # of a process killed before its first checkpoint
        self._writer = (
            SummaryWriter(str(directory), purge_step=first_step + 1 if first_step else None) if lead else None
        )
        if self._writer is not None and not first_step:
            self._writer.add_custom_scalars(CUSTOM_SCALARS)
            values = {name: _scalar(value) for name, value in leaves(config).items()}
            metrics = {"classification_accuracy": None, "answer_accuracy": None, "val_total_loss": None}
            # SummaryWriter.add_hparams would start a run of its own beside this one
            for summary in hparams(values, metrics):  # type: ignore[no-untyped-call] # TensorBoard has no types
                self._writer._get_file_writer().add_summary(summary)  # type: ignore[no-untyped-call] # as above

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Record figures of one step; they are on disk when this returns.

        Args:
            step: optimizer steps taken so far.
            figures: {flat name: value}.
        """
        if self._writer is None:
            return
        for name, value in figures.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, step)
                print(f"{name}={value:.8g}")
        self._writer.flush()
        sys.stdout.flush()


def _scalar(value: Any) -> float | int | str | bool:
    return value if isinstance(value, (float, int, str, bool)) else str(value)
