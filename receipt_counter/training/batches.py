"""The batches of an epoch: their order, pictures and augmentation are functions of (seed, epoch, batch) alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from receipt_counter.config.schema import Config
from receipt_counter.data.augmentation import augment
from receipt_counter.data.dataset import Example
from receipt_counter.errors import UserError
from receipt_counter.model.packing import PackedBatch
from receipt_counter.model.processor import ReceiptProcessor
from receipt_counter.processes import die_with_parent

# Batches whose images are sorted by text length together: enough to save padding, few enough to stay random.
BUCKET_BATCHES = 16


@dataclass(frozen=True)
class Share:
    """Which part of every global batch this process trains on.

    Args:
        rank: its number among all processes, from 0.
        world: how many processes train.
        machines: on how many machines.
    """

    rank: int = 0
    world: int = 1
    machines: int = 1


def derived_seed(*parts: int) -> int:
    """A 63-bit seed that depends on all parts (numpy's SeedSequence hash)."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


def pass_order(lengths: Sequence[int], seed: int, number: int, global_batch: int) -> list[list[int]]:
    """Shuffle a split into batches of images with texts of similar length.

    Args:
        lengths: length of each example's texts, any unit.
        seed, number: decide the order; `number` counts the passes over the split from 1.
        global_batch: images per batch over all processes.

    Returns:
        Batches of indices, each of exactly `global_batch`; what is left over waits for another pass.
    """
    generator = np.random.default_rng(derived_seed(seed, number))
    shuffled = generator.permutation(len(lengths))
    window = global_batch * BUCKET_BATCHES
    batches: list[list[int]] = []
    for start in range(0, len(shuffled), window):
        bucket = sorted(shuffled[start : start + window].tolist(), key=lambda index: lengths[index])
        batches += [bucket[i : i + global_batch] for i in range(0, len(bucket) - global_batch + 1, global_batch)]
    return [batches[index] for index in generator.permutation(len(batches))]


class TrainingBatches:
    """The train split as packed batches.

    Args:
        examples: the train split.
        processor: letterboxes, normalises and packs.
        config: batch size, workers, augmentation, seed.
        share: this process's part of every batch.

    Raises:
        UserError: fewer images than one batch over all processes.
    """

    def __init__(
        self, examples: Sequence[Example], processor: ReceiptProcessor, config: Config, share: Share | None = None
    ) -> None:
        self.examples, self.processor, self.config = examples, processor, config
        self.share = share or Share()
        self.lengths = [sum(len(q.question) + len(q.answer) for q in example.questions) for example in examples]
        self.global_batch = config.data.batch_size * self.share.world
        self.batches_per_pass = len(pass_order(self.lengths, config.seed, 1, self.global_batch))
        self.steps_per_epoch = self._plan_epoch()

    def _plan_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        data, accumulation = self.config.data, self.config.training.gradient_accumulation_steps
        split = len(self.examples)
        images = min(split, data.epoch_images or split)
        steps = min(images // self.global_batch, self.batches_per_pass) // accumulation
        if steps == 0:
            needed = self.global_batch * accumulation
            where = "the train split has" if images == split else "data.epoch_images is"
            raise UserError(
                f"data.batch_size {data.batch_size} x {self.share.world} processes x"
                f" training.gradient_accumulation_steps {accumulation} = {needed} images for one step, but {where}"
                f" {images}; use --set data.batch_size={max(1, images * data.batch_size // needed)}"
            )
        return steps

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[list[PackedBatch]]:
        """The optimizer steps of one epoch, each a list of `gradient_accumulation_steps` micro-batches.

        Args:
            epoch: counted from 1.
            first_step: steps already taken in this epoch.
        """
        accumulation = self.config.training.gradient_accumulation_steps
        order = self._order(epoch)
        todo = range(first_step * accumulation, self.steps_per_epoch * accumulation)
        workers = self.config.data.num_workers
        loader = DataLoader(
            _EpochBatches(self, epoch, order),
            batch_size=None,
            sampler=todo,
            num_workers=workers,
            worker_init_fn=_start_worker if workers else None,
            prefetch_factor=2 if workers else None,
        )
        micro: list[PackedBatch] = []
        for batch in loader:
            micro.append(batch)
            if len(micro) == accumulation:
                yield micro
                micro = []

    def _order(self, epoch: int) -> list[list[int]]:
        """The batches of an epoch: its part of a pass over the split."""
        size = self.steps_per_epoch * self.config.training.gradient_accumulation_steps
        number, part = divmod(epoch - 1, self.batches_per_pass // size)
        order = pass_order(self.lengths, self.config.seed, number + 1, self.global_batch)
        return order[part * size : (part + 1) * size]

    def load(self, indices: Sequence[int], augmentation_seed: int | None) -> PackedBatch:
        """Read, augment and pack some examples.

        Args:
            indices: of the train split.
            augmentation_seed: None leaves the pictures as they are.
        """
        chosen = [self.examples[index] for index in indices]
        pixels = self.processor.read_images([example.image for example in chosen])
        if augmentation_seed is not None:
            pixels = augment(pixels, torch.Generator().manual_seed(augmentation_seed))
        last_class = self.config.model.classes - 1
        return self.processor.pack(
            self.processor.normalise(pixels),
            [min(example.count, last_class) for example in chosen],
            [[(q.question, q.answer) for q in example.questions] for example in chosen],
        )


class _EpochBatches(Dataset[PackedBatch]):
    """Map-style view of one epoch for DataLoader workers."""

    def __init__(self, batches: TrainingBatches, epoch: int, order: list[list[int]]) -> None:
        self.batches, self.epoch, self.order = batches, epoch, order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, number: int) -> PackedBatch:
        config, share = self.batches.config, self.batches.share
        own = self.order[number][share.rank :: share.world]
        seed = derived_seed(config.seed, self.epoch, number, share.rank) if config.data.augmentation else None
        return self.batches.load(own, seed)


def _start_worker(_: int) -> None:
    die_with_parent()
    torch.set_num_threads(1)
