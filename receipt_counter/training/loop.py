"""The training loop: stages, epochs, steps. The same for one process and for many.

All randomness is a function of (seed, epoch, step), so a run that continues from a checkpoint ends like one that was
never interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.distributed as dist
from torch import Tensor

from receipt_counter.config.schema import Config
from receipt_counter.data.dataset import Example
from receipt_counter.evaluation.evaluate import quick_metrics
from receipt_counter.model.packing import PackedBatch
from receipt_counter.model.processor import ReceiptProcessor
from receipt_counter.model.quiet import quiet_transformers
from receipt_counter.model.receipt_counter import Losses, ReceiptCounter
from receipt_counter.progress import Progress
from receipt_counter.training.batches import Share, TrainingBatches, derived_seed
from receipt_counter.training.checkpoints import CheckpointStore
from receipt_counter.training.distributed import (
    any_process,
    average_buffers,
    build_engine,
    device,
    from_first_process,
    gather,
    load_buffers,
    save_buffers,
)
from receipt_counter.training.events import EventLog
from receipt_counter.training.gradients import gradient_norms
from receipt_counter.training.optimizer import build_optimizer, parameter_groups, set_learning_rates
from receipt_counter.training.schedule import schedule_factor
from receipt_counter.training.stages import Stage, apply_stage, plan_stages, stage_of
from receipt_counter.training.state import TrainingState


class DivergedError(Exception):
    """A loss became nan or infinite; the text says at which step."""


class InterruptedRunError(Exception):
    """Somebody asked the run to stop; it has been saved."""


@dataclass(frozen=True)
class Surroundings:
    """What the loop talks to.

    Args:
        checkpoints: where it saves.
        events: where figures go.
        progress: where a person watches.
        stop_requested: asked after every step.
        on_save: told after every checkpoint, with the state.
    """

    checkpoints: CheckpointStore
    events: EventLog
    progress: Progress
    stop_requested: Callable[[], bool]
    on_save: Callable[[TrainingState], None]


class TrainingLoop:
    """Trains one model.

    Args:
        config: the run's config.
        model: on the CPU, freshly built; moved by DeepSpeed.
        processor: the model's own.
        train, val: examples of the two splits.
        share: this process among its peers.
        surroundings: what the loop talks to.
        state: where to go on; fresh at the beginning.
    """

    def __init__(
        self,
        config: Config,
        model: ReceiptCounter,
        processor: ReceiptProcessor,
        *,
        train: list[Example],
        val: list[Example],
        share: Share,
        surroundings: Surroundings,
        state: TrainingState,
    ) -> None:
        self.config, self.model, self.processor, self.val = config, model, processor, val
        self.share, self.around, self.state = share, surroundings, state
        self.batches = TrainingBatches(train, processor, config, share)
        self.stages = plan_stages(config)
        self.stage: Stage | None = None
        self.engine: Any = None
        self.trainable: Mapping[str, list[tuple[str, torch.nn.Parameter]]] = {}
        self._clock = time.monotonic()
        self._timed_from = (self._clock, 0, 0)  # when, images, questions since figures were last written

    def run(self, restored: Path | None) -> None:
        """Train to the end.

        Args:
            restored: directory of the checkpoint that `state` came from, or None at the beginning.

        Raises:
            DivergedError: a loss is not finite; nothing was saved after the last good step.
            InterruptedRunError: a stop was requested and everything is saved.
        """
        state, total = self.state, self.config.training.epochs * self.batches.steps_per_epoch
        self.around.progress.start("train", total)
        while not state.finished:
            self._enter(stage_of(self.stages, state.epoch))
            if restored is not None:
                self.engine.load_checkpoint(str(restored), tag="engine")
                load_buffers(self.model, restored, self.share)
                restored = None
            self._train_epoch()
            self._finish_epoch()
        self.around.progress.finish()

    def _enter(self, stage: Stage) -> None:
        """Make the engine of a stage, unless it is already there."""
        if stage == self.stage:
            return
        if self.engine is not None:
            self.engine.destroy()
        self.trainable = apply_stage(self.model, stage)
        groups = parameter_groups(self.trainable, stage, self.config.training.optimizer.weight_decay)
        optimizer = build_optimizer(self.config.training.optimizer, groups)
        self.engine = build_engine(self.model, optimizer, self.config)
        self.stage = stage

    def _train_epoch(self) -> None:
        state, every = self.state, self.config.training.checkpoint.every_steps
        for batches in self.batches.epoch(state.epoch, state.step_in_epoch):
            self._step(batches)
            stop = any_process(self.around.stop_requested(), self.share)
            if stop or state.step % every == 0:
                self._save()
            if stop:
                raise InterruptedRunError

    def _step(self, batches: list[PackedBatch]) -> None:
        """One optimizer step over its micro-batches."""
        state, training = self.state, self.config.training
        self.engine.train()
        torch.manual_seed(derived_seed(self.config.seed, state.epoch, state.step_in_epoch, self.share.rank))
        factor = schedule_factor(training.schedule, state.step, self.batches.steps_per_epoch)
        rates = set_learning_rates(self.engine.optimizer, training.learning_rate * factor)
        log_due = (state.step + 1) % training.log_every_steps == 0
        parts, right, norms = [], 0, {}
        for number, batch in enumerate(batches, start=1):
            losses: Losses = self.engine(batch.to(device(), self._pixel_type()))
            total = self._weigh(losses)
            self.engine.backward(total)
            parts.append(torch.stack([total, losses.cls_loss, losses.lm_loss]).detach().float())
            right += int((losses.count_logits.argmax(-1).cpu() == batch.counts).sum())
            if log_due and number == len(batches):
                norms = gradient_norms(self.engine, self.trainable)
            self.engine.step()
        state.step += 1
        state.step_in_epoch += 1
        self._remember(parts)
        images = sum(len(batch.counts) for batch in batches)
        self._watch(right / images)
        when, seen, asked = self._timed_from
        self._timed_from = (when, seen + images, asked + sum(batch.questions for batch in batches))
        if log_due:
            self._write_figures(rates, norms)

    def _pixel_type(self) -> torch.dtype:
        return torch.bfloat16 if self.config.training.precision == "bf16" else torch.float32

    def _weigh(self, losses: Losses) -> Tensor:
        weights = self.config.training.loss_weights
        return weights.classification * losses.cls_loss + weights.language * losses.lm_loss

    def _remember(self, parts: list[Tensor]) -> None:
        """Keep the step's losses, and refuse to go on from one that is not a number."""
        mean = torch.stack(parts).mean(0)
        if self.share.world > 1:
            dist.all_reduce(mean)
            mean /= self.share.world
        values = mean.tolist()
        if not torch.isfinite(mean).all():
            named = dict(zip(("total", "counting", "answers"), values, strict=True))
            shown = ", ".join(f"{name} {value:g}" for name, value in named.items())
            raise DivergedError(f"the loss is not finite at step {self.state.step} (epoch {self.state.epoch}): {shown}")
        self.state.window.append(values)

    def _watch(self, accuracy: float) -> None:
        state = self.state
        self.around.progress.update(
            state.step,
            stage=self.stage.number if self.stage else 0,
            epoch=f"{state.epoch}/{self.config.training.epochs}",
            loss=state.window[-1][0],
            accuracy=accuracy,
        )

    def _write_figures(self, rates: Mapping[str, float], norms: Mapping[str, float]) -> None:
        state = self.state
        means = [sum(column) / len(column) for column in zip(*state.window, strict=True)]
        state.window = []
        when, images, questions = self._timed_from
        seconds = max(time.monotonic() - when, 1e-9)
        figures = dict(zip(("train_total_loss", "train_cls_loss", "train_lm_loss"), means, strict=True))
        figures |= {f"learning_rate_{name}": rate for name, rate in rates.items()} | dict(norms)
        figures |= {
            "images_per_second": images * self.share.world / seconds,
            "questions_per_second": questions * self.share.world / seconds,
            "stage": float(self.stage.number if self.stage else 0),
            "epoch": float(state.epoch),
            "memory_gigabytes": used_memory(),
        }
        self.around.events.write(state.step, figures)
        self._timed_from = (time.monotonic(), 0, 0)

    def _finish_epoch(self) -> None:
        """Judge the epoch on val, keep it if it is the best, and save where the next one begins."""
        state, settings = self.state, self.config.training.early_stopping
        state.val = self._judge()
        self.around.events.write(state.step, {**state.val, "epoch": float(state.epoch)})
        if state.tracker.update(settings, state.epoch, state.val.get(settings.metric)) or state.best_step is None:
            state.best_step, state.best = state.step, state.val
            self._save_best()
        state.finished = state.epoch == self.config.training.epochs or state.tracker.should_stop(settings)
        state.epoch, state.step_in_epoch = state.epoch + 1, 0
        if not state.finished:
            # the checkpoint belongs to the engine that goes on from it
            self._enter(stage_of(self.stages, state.epoch))
        self._save()
        self._timed_from = (time.monotonic(), 0, 0)

    def _judge(self) -> dict[str, float]:
        self.engine.eval()
        average_buffers(self.model, self.share)
        return quick_metrics(
            self.model,
            self.processor,
            self.val,
            self.config,
            device(),
            answer_images=self.config.evaluation.epoch_answer_images,
            part=(self.share.rank, self.share.world),
            gather=lambda seen: gather(seen, self.share),
        )

    def _save_best(self) -> None:
        if self.share.rank == 0:
            best = self.around.checkpoints.writing(f"best-{self.state.step}", {"val": self.state.val})
            with quiet_transformers(), best as directory:
                self.model.save_pretrained(directory)
                self.processor.save_pretrained(directory)

    def _save(self) -> None:
        """Save engine and state; every process writes its part."""
        state, name = self.state, f"step-{self.state.step}"
        elapsed, self._clock = time.monotonic() - self._clock, time.monotonic()
        state.device_seconds += elapsed * self.share.world
        state.peak_memory = max(state.peak_memory, used_memory(peak=True))
        state.world = self.share.world
        if self.share.rank == 0:
            with self.around.checkpoints.writing(name, state.to_json()) as directory:
                self._save_engine(from_first_process(directory, self.share))
            self.around.checkpoints.prune(state.best_step)
            self.around.on_save(state)
        else:
            self._save_engine(from_first_process(None, self.share))

    def _save_engine(self, directory: Path) -> None:
        self.engine.save_checkpoint(str(directory), tag="engine", save_latest=False)
        save_buffers(self.model, directory, self.share)
        if self.share.world > 1:
            dist.barrier()


def used_memory(peak: bool = False) -> float:
    """Memory of this process, GB: the GPU's where there is one, else resident memory."""
    if torch.cuda.is_available():
        return (torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()) / 1e9
    return float(psutil.Process().memory_info().rss) / 1e9
