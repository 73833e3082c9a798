"""Training a run: from a config and a dataset to a run directory with the best model, whatever happens on the way."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from safetensors import SafetensorError

from receipt_counter import IMAGE_VARIABLE
from receipt_counter.config.loading import to_yaml
from receipt_counter.config.schema import Config
from receipt_counter.data.dataset import Dataset
from receipt_counter.errors import UserError
from receipt_counter.model.build import build_model
from receipt_counter.progress import Progress, open_progress
from receipt_counter.storage.files import atomic_directory, write_atomic
from receipt_counter.storage.keeper import Keeper, kept
from receipt_counter.storage.labels import STUDY, label_events
from receipt_counter.storage.manifest import MANIFEST, write_manifest
from receipt_counter.storage.ownership import catch_up, claim
from receipt_counter.storage.run import FINISHED, Run, now
from receipt_counter.storage.store import Store, run_id
from receipt_counter.storage.sync import SCRATCH, mirror_of, uri
from receipt_counter.storage.versions import code_version, library_versions
from receipt_counter.training.batches import Share
from receipt_counter.training.checkpoints import STATE, CheckpointStore
from receipt_counter.training.distributed import from_first_process, start_processes
from receipt_counter.training.events import EventLog
from receipt_counter.training.launch import peer_message
from receipt_counter.training.loop import DivergedError, InterruptedRunError, Surroundings, TrainingLoop
from receipt_counter.training.state import TrainingState

INTERRUPTED_STATUS = 128 + signal.SIGTERM


def train(
    config: Config,
    dataset: Dataset,
    store: Path,
    *,
    experiment_name: str = "run",
    progress: Progress | None = None,
) -> Path:
    """Train a run, continue an interrupted one, or do nothing when it is finished.

    Args:
        config: the resolved config.
        dataset: what to train on.
        store: root of the store.
        experiment_name: recorded, no part of the run's identity.
        progress: where a person watches; this process's own by default.

    Returns:
        The run directory; its status is "finished".

    Raises:
        UserError: the run diverged, was interrupted, ran out of memory or disk, ...; run.json says the same.
    """
    share = start_processes(config)
    identity = run_id(config, dataset.fingerprint, code_version())
    if from_first_process(identity, share) != identity:
        raise UserError(f"process {share.rank} would train another run than the first: their code or data differ")
    run = Run(Store(store).run_directory(identity))
    require_shared_mirror(run.directory, share)
    if share.rank == 0:
        catch_up(run)
    if from_first_process(run.status == FINISHED, share):
        return run.directory
    shown = progress or open_progress(share.rank == 0)
    with (
        _claimed(run, share, shown) as token,
        _stop_flag() as stop_signalled,
        nullcontext() if token is None else kept(run, token, shown.note) as keeper,
        _recorded(run, share),
    ):
        if share.rank == 0:
            _begin(run, config, dataset, experiment_name, share)
        from_first_process(None, share)  # what the first process had to fetch is there
        _fit(run, config, dataset, share, progress=shown, keeper=keeper, stop_signalled=stop_signalled)
    return run.directory


def require_shared_mirror(directory: Path, share: Share) -> None:
    """Refuse to train on several machines that mirror a store of objects each for itself.

    Their processes write one checkpoint together, and read it together.

    Raises:
        UserError: that is so.
    """
    here = int(os.environ.get("LOCAL_WORLD_SIZE", share.world))
    if here < share.world and mirror_of(directory) is not None and not os.environ.get(SCRATCH):
        raise UserError(
            f"{uri(directory)}: {share.world} processes on several machines train it, and each machine would keep files"
            f" of its own; have {SCRATCH} name a directory that all of them see, such as a ReadWriteMany volume"
        )


@contextmanager
def _claimed(run: Run, share: Share, progress: Progress) -> Iterator[str | None]:
    """The run is this process's alone; yields the token that says so, or None in all but the first process."""
    if share.rank:
        yield None
        return
    with run.lock():
        yield claim(run, progress.note)


def _begin(run: Run, config: Config, dataset: Dataset, experiment_name: str, share: Share) -> None:
    run.directory.mkdir(parents=True, exist_ok=True)
    write_atomic(run.directory / "config.yaml", to_yaml(config))
    run.update(
        run_id=run.directory.name,
        experiment_name=experiment_name,
        seed=config.seed,
        status="running",
        started=run.record.get("started") or now(),
        ended=None,
        error=None,
        lineage={
            "code_version": code_version(),
            "data_fingerprint": dataset.fingerprint,
            "data_name": dataset.name,
            "image": os.environ.get(IMAGE_VARIABLE) or None,
            "study": os.environ.get(STUDY),
            "trial": os.environ.get("RECEIPT_COUNTER_TRIAL"),
            "versions": library_versions(),
            "processes": share.world,
            "nodes": share.machines,
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        },
    )


def _fit(
    run: Run,
    config: Config,
    dataset: Dataset,
    share: Share,
    *,
    progress: Progress,
    keeper: Keeper | None,
    stop_signalled: Callable[[], bool],
) -> None:
    if config.training.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    train_split, val_split = dataset.examples("train"), dataset.examples("val")
    torch.manual_seed(config.seed)
    texts = [text for example in train_split for q in example.questions for text in (q.question, q.answer)]
    model, processor = build_model(config, texts)
    checkpoints = CheckpointStore(run.checkpoints, config.training.checkpoint.keep)
    restored = checkpoints.latest(progress.note)
    state = TrainingState.from_json(restored.state) if restored else TrainingState()
    _check_world(state, share, config, run)

    def stop_requested() -> bool:
        return stop_signalled() or (keeper is not None and keeper.is_lost)

    def on_save(saved: TrainingState) -> None:
        if keeper is not None:
            _record_state(run, saved)
            keeper.wake()

    with EventLog(run.events, config, state.step, lead=keeper is not None) as events:
        if keeper is not None:
            label_events(run.events)
        surroundings = Surroundings(checkpoints, events, progress, stop_requested, on_save)
        loop = TrainingLoop(
            config,
            model,
            processor,
            train=train_split,
            val=val_split,
            share=share,
            surroundings=surroundings,
            state=state,
        )
        loop.run(restored.directory if restored else None)
    if keeper is not None:
        _publish(run, checkpoints, state)


def _check_world(state: TrainingState, share: Share, config: Config, run: Run) -> None:
    if state.step and state.world != share.world and config.training.zero_stage:
        raise UserError(
            f"{run.directory}: its checkpoint was written by {state.world} processes with ZeRO stage"
            f" {config.training.zero_stage} and cannot continue on {share.world}; start {state.world} processes"
        )


def _record_state(run: Run, state: TrainingState) -> None:
    run.update(
        device_seconds=round(state.device_seconds, 3),
        peak_memory_gigabytes=round(state.peak_memory, 3),
        step=state.step,
    )


def _publish(run: Run, checkpoints: CheckpointStore, state: TrainingState) -> None:
    """Make the best epoch's weights the run's model; the last thing a run does."""
    if state.best_step is None:
        raise UserError(f"{run.directory}: no epoch was finished, so there is no model")
    best = checkpoints.best(state.best_step)
    with atomic_directory(run.model, replace=True) as directory:
        for path in best.iterdir():
            if path.name not in (MANIFEST, STATE):
                shutil.copy2(path, directory)
        write_manifest(directory)
    run.add_metrics("val", state.best)
    run.update(status=FINISHED, ended=now(), best_epoch=state.tracker.best_epoch, epochs=state.epoch - 1, error=None)


@contextmanager
def _recorded(run: Run, share: Share) -> Iterator[None]:
    """Turn whatever ends training early into a status in run.json and a message."""

    def fail(status: str, message: str) -> UserError:
        if share.rank == 0:
            with suppress(UserError):  # a full disk may not take even this
                run.update(status=status, ended=now(), error={"message": message})
        exit_status = INTERRUPTED_STATUS if status == "interrupted" else 1
        return UserError(f"{run.directory}: {message}", status=exit_status)

    try:
        yield
    except InterruptedRunError:
        raise fail("interrupted", "stopped as asked; everything is saved, the same command continues") from None
    except DivergedError as error:
        hint = "try a smaller training.learning_rate, or training.gradient_clip above 0"
        raise fail("diverged", f"{error}; {hint}") from None
    except UserError as error:
        cause = error.__cause__
        lacking = _resource_message(cause, run.directory) if isinstance(cause, OSError) else None
        raise fail("failed", lacking or error.message) from None
    except (MemoryError, RuntimeError, OSError, SafetensorError) as error:
        message = peer_message() or _resource_message(error, run.directory)
        if message is None:
            fail("failed", f"{type(error).__name__}: {error}")
            raise
        raise fail("failed", message) from None


def _resource_message(error: Exception, directory: Path) -> str | None:
    """A sentence for running out of memory or disk; None for anything else."""
    text = str(error)
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in text:
        return (
            "out of memory; halve data.batch_size and double training.gradient_accumulation_steps"
            " (the same step in half the memory)"
        )
    disk_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    # torch's and TensorBoard's writers hide errno
    if disk_full or "No space left" in text or "PytorchStreamWriter failed" in text or "inline_container" in text:
        free = shutil.disk_usage(directory).free / 1e9
        return f"no space left on the disk ({free:.2f} GB free); the last complete checkpoint is untouched"
    return None


@contextmanager
def _stop_flag() -> Iterator[Callable[[], bool]]:
    """While it lasts, SIGTERM and SIGINT ask the loop to save and stop, instead of ending the process."""
    requested = threading.Event()

    def request(number: int, frame: FrameType | None) -> None:
        requested.set()

    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set
        return
    before: dict[int, Any] = {number: signal.signal(number, request) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield requested.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
