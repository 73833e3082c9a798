"""One process or many: the process group, and DeepSpeed's engine for one stage."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from receipt_counter.config.schema import Config
from receipt_counter.errors import UserError
from receipt_counter.training.batches import Share
from receipt_counter.training.launch import RENDEZVOUS

# For a machine that still pulls its image, and for a peer that hangs: one that ends is noticed at once.
PATIENCE = timedelta(minutes=20)


def start_processes(config: Config) -> Share:
    """Join the processes that `launch` or torchrun started, or be the only one.

    Args:
        config: says how many there must be: `cluster.nodes` x `training.processes`.

    Returns:
        This process's rank and how many there are.

    Raises:
        UserError: another number of processes was started.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    _require_processes(config, world, here)
    use_gpu = torch.cuda.is_available()
    if use_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    else:
        os.environ["DS_ACCELERATOR"] = "cpu"
        if here > 1 and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // here))
    # DeepSpeed looks for these and reaches for MPI where they are missing
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "127.0.0.1")):
        os.environ.setdefault(name, value)
    os.environ.setdefault("MASTER_PORT", "29500")
    if not dist.is_initialized():
        # NCCL refuses processes that share a GPU
        backend = "nccl" if use_gpu and torch.cuda.device_count() >= here else "gloo"
        if world == 1:
            # a store in memory needs no port, so any number of single-process runs fit on one machine
            memory = dist.HashStore()  # type: ignore[attr-defined]  # torch exports it without saying so
            dist.init_process_group(backend, store=memory, rank=0, world_size=1)
        else:
            meeting = os.environ.get(RENDEZVOUS, "env://")  # torchrun's is in its own variables
            rank = int(os.environ["RANK"])
            dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=world, timeout=PATIENCE)
    return Share(rank=dist.get_rank(), world=dist.get_world_size(), machines=world // here)


def _require_processes(config: Config, world: int, here: int) -> None:
    nodes, processes = config.cluster.nodes, config.training.processes
    if world == nodes * processes:
        return
    started = f"{here} process{'es' * (here > 1)} started on this machine"
    if world == here and nodes == 1:
        raise UserError(
            f"training.processes is {processes}, but {started};"
            f" use torchrun --nproc-per-node {processes}, or set training.processes to {here}"
        )
    raise UserError(
        f"cluster.nodes is {nodes} and training.processes {processes}, which makes {nodes * processes} processes, but"
        f" {world} started, {here} of them on this machine; use torchrun --nnodes {nodes} --nproc-per-node {processes}"
    )


def device() -> torch.device:
    """The device this process trains on."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def build_engine(model: torch.nn.Module, optimizer: torch.optim.Optimizer, config: Config) -> Any:
    """A raw DeepSpeed engine around the model, for one stage.

    One engine a stage: freezing changes ZeRO's flat buffers.

    Args:
        model: with `requires_grad` set for the stage.
        optimizer: over the stage's parameter groups.
        config: batch size, accumulation, clipping, precision and ZeRO stage.

    Returns:
        deepspeed.DeepSpeedEngine.
    """
    import deepspeed  # only now: it reads DS_ACCELERATOR and the process group when imported
    import deepspeed.ops

    # compiling this kernel takes 40 s and a C++ compiler, to speed up what a single CPU process never does
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    training = config.training
    settings = {
        "train_micro_batch_size_per_gpu": config.data.batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "gradient_clipping": training.gradient_clip,
        "zero_optimization": {"stage": training.zero_stage},
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": training.precision == "bf16"},
        "steps_per_print": 10**9,
    }
    deepspeed.init_distributed(auto_mpi_discovery=False, verbose=False)
    return deepspeed.initialize(model=model, optimizer=optimizer, config=settings)[0]


def gather(value: Any, share: Share) -> list[Any]:
    """Every process's value, by rank, in every process."""
    values: list[Any] = [value] * share.world
    if share.world > 1:
        dist.all_gather_object(values, value)
    return values


def average_buffers(model: torch.nn.Module, share: Share) -> None:
    """Give every process the mean of all processes' running statistics; gradients keep only parameters equal."""
    if share.world == 1:
        return
    for buffer in model.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer.div_(share.world)


def save_buffers(model: torch.nn.Module, directory: Path, share: Share) -> None:
    """Write this process's own running statistics into a checkpoint; DeepSpeed keeps those of the first one only."""
    if share.world > 1:
        torch.save(dict(model.named_buffers()), directory / _buffers_file(share))


def load_buffers(model: torch.nn.Module, directory: Path, share: Share) -> None:
    """Take back what `save_buffers` wrote; a process that was not there then keeps those of the first one."""
    path = directory / _buffers_file(share)
    if path.exists():
        saved = torch.load(path, weights_only=True)
        for name, buffer in model.named_buffers():
            buffer.copy_(saved[name])


def _buffers_file(share: Share) -> str:
    return f"buffers-{share.rank}.pt"


def any_process(flag: bool, share: Share) -> bool:
    """Whether the flag is set in any process, so that all of them act on it at the same step."""
    if share.world == 1:
        return flag
    votes = torch.tensor(int(flag), device=device())
    dist.all_reduce(votes)
    return bool(votes.item())


def from_first_process(value: Any, share: Share) -> Any:
    """The first process's value, in every process."""
    if share.world == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]
