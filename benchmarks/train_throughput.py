"""Questions trained on per second: packed questions against Hugging Face's Trainer with one question a sample.

Both train the same model from the same weights on the same pictures and questions, in turns, each in a fresh process
(DeepSpeed's process group would make Trainer wrap the model once more); only the ratio within a turn counts, so a
machine that slows down slows both. Trainer gets as many samples a step as the packed
batch has questions, padded to the longest, and logits at every position, as `labels=` gives them in transformers.

    python benchmarks/train_throughput.py [--turns 3] [--steps 6] [--model laptop|proportions] [--questions 1 3 5]
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional
from transformers import Trainer, TrainerCallback, TrainingArguments

from receipt_counter.config.loading import resolve
from receipt_counter.config.schema import Config
from receipt_counter.data.dataset import Dataset, Example
from receipt_counter.data.render import render_dataset
from receipt_counter.model.build import build_model
from receipt_counter.model.processor import ReceiptProcessor
from receipt_counter.model.receipt_counter import ReceiptCounter
from receipt_counter.training.batches import TrainingBatches
from receipt_counter.training.distributed import build_engine, start_processes
from receipt_counter.training.optimizer import build_optimizer, parameter_groups, set_learning_rates
from receipt_counter.training.stages import apply_stage, plan_stages

COMMON = (
    "training.three_stage.enabled=false",
    "training.processes=1",
    "training.optimizer.name=adamw",
    "data.augmentation=false",
    "data.num_workers=0",
)
# InternVL3-1B at 448 px: 1,024 patches become 256 image tokens; the language layers hold 1.18 times the weights of the
# vision tower, and both are equally deep. The same here, four layers deep and an eighth as wide.
PROPORTIONS = (
    "data.image_size=512",
    "data.batch_size=4",
    "model.architecture.conv_stem=false",
    "model.architecture.vision_width=128",
    "model.architecture.vision_layers=4",
    "model.architecture.language_width=152",
    "model.architecture.language_layers=4",
    "model.cross_attention.num_heads=4",
)
MODELS = {"laptop": (), "proportions": PROPORTIONS}
# InternVL3-1B's 151,674 tokens of 896 numbers are 0.38 times as many weights as its language layers; so are these.
VOCABULARY = {"proportions": 3010}
WARM_UP = 2  # steps at the start of every turn that are not counted


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    config: Config
    examples: list[Example]
    questions: int


class OneQuestionModel(nn.Module):
    """The same model as transformers would train it: one question a sample, logits everywhere.

    Args:
        model: shares its weights.
        weights: of the counting and the answer loss.
    """

    def __init__(self, model: ReceiptCounter, weights: tuple[float, float]) -> None:
        super().__init__()
        self.model, self.weights = model, weights

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor, targets: Tensor, counts: Tensor
    ) -> dict[str, Tensor]:
        """Both losses of N samples, [N,3,S,S] pictures and [N,L] texts."""
        inner = self.model.internvl
        vision = inner.model.get_image_features(pixel_values, return_dict=True)
        embeddings = inner.get_input_embeddings()(input_ids)
        image = (input_ids == inner.config.image_token_id).unsqueeze(-1).expand_as(embeddings)
        embeddings = embeddings.masked_scatter(image, vision.pooler_output.to(embeddings.dtype))
        states = inner.model.language_model(
            inputs_embeds=embeddings, attention_mask=attention_mask, use_cache=False
        ).last_hidden_state
        if self.model.cross_attention is not None:
            states = self.model.cross_attention(states, *self.model.cross_attention.keys_values(vision.pooler_output))
        logits = inner.lm_head(states)
        answer = functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
        count = functional.cross_entropy(self.model.head(vision.last_hidden_state[:, 1:]).float(), counts)
        return {"loss": self.weights[0] * count + self.weights[1] * answer, "logits": logits}


class Collator:
    """One question a sample, from the same processor; the mask is what transformers expects: 1 is a token."""

    def __init__(self, processor: ReceiptProcessor, classes: int) -> None:
        self.processor, self.classes = processor, classes

    def __call__(self, samples: Sequence[tuple[Example, int]]) -> dict[str, Tensor]:
        pixels = self.processor.read_images([example.image for example, _ in samples])
        asked = [example.questions[number] for example, number in samples]
        counts = [min(example.count, self.classes - 1) for example, _ in samples]
        batch = self.processor.pack(pixels, counts, [[(q.question, q.answer)] for q in asked])
        return {
            "pixel_values": batch.pixel_values,
            "input_ids": batch.input_ids,
            "attention_mask": (batch.input_ids != self.processor.padding).long(),
            "targets": batch.labels,
            "counts": batch.counts,
        }


class StepClock(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
    """When each optimizer step of Trainer ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *arguments: Any, **named: Any) -> None:
        """Called by Trainer."""
        self.ends.append(time.perf_counter())


def model_of(case: Case) -> tuple[ReceiptCounter, ReceiptProcessor]:
    """The case's model, always with the same weights."""
    texts = [text for example in case.examples for q in example.questions for text in (q.question, q.answer)]
    torch.manual_seed(case.config.seed)
    model, processor = build_model(case.config, texts)
    if tokens := VOCABULARY.get(case.name):
        model.internvl.resize_token_embeddings(tokens)
    return model, processor


def packed_steps(case: Case, steps: int) -> float:
    """Questions per second of this project's own step: all of an image's questions behind it."""
    start_processes(case.config)
    model, processor = model_of(case)
    training = case.config.training
    (stage,) = plan_stages(case.config)
    groups = parameter_groups(apply_stage(model, stage), stage, training.optimizer.weight_decay)
    engine = build_engine(model, build_optimizer(training.optimizer, groups), case.config)
    set_learning_rates(engine.optimizer, training.learning_rate)
    engine.train()
    batches = TrainingBatches(case.examples, processor, case.config)
    questions, start = 0, 0.0
    for done, (batch,) in enumerate(endless(batches), start=1):
        losses = engine(batch)
        weights = training.loss_weights
        engine.backward(weights.classification * losses.cls_loss + weights.language * losses.lm_loss)
        engine.step()
        if done == WARM_UP:
            start = time.perf_counter()
        elif done > WARM_UP:
            questions += batch.questions
        if done == WARM_UP + steps:
            break
    return questions / (time.perf_counter() - start)


def endless(batches: TrainingBatches) -> Iterator[list[Any]]:
    """Epoch after epoch."""
    epoch = 1
    while True:
        yield from batches.epoch(epoch)
        epoch += 1


def trainer_steps(case: Case, steps: int) -> float:
    """Questions per second of Trainer."""
    model, processor = model_of(case)
    training, size = case.config.training, case.config.data.batch_size * case.questions
    samples = [(example, number) for example in case.examples for number in range(case.questions)]
    clock = StepClock()
    with tempfile.TemporaryDirectory() as directory:
        arguments = TrainingArguments(
            output_dir=directory,
            per_device_train_batch_size=size,
            max_steps=WARM_UP + steps,
            learning_rate=training.learning_rate,
            weight_decay=training.optimizer.weight_decay,
            max_grad_norm=training.gradient_clip,
            remove_unused_columns=False,
            label_names=["targets"],
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_num_workers=0,
            dataloader_drop_last=True,
            logging_strategy="no",
            use_cpu=not torch.cuda.is_available(),
        )
        Trainer(
            model=OneQuestionModel(model, (training.loss_weights.classification, training.loss_weights.language)),
            args=arguments,
            train_dataset=samples,
            data_collator=Collator(processor, case.config.model.classes),
            callbacks=[clock],
        ).train()
    return steps * size / (clock.ends[-1] - clock.ends[WARM_UP - 1])


def prepare(name: str, questions: int, directory: Path, images: int) -> Case:
    """Render the pictures of one row."""
    asked = f"data.render.questions_per_image={questions}"
    sizes = [f"data.render.{split}_images={count}" for split, count in (("train", images), ("val", 1))]
    sizes += ["data.render.analysis_images=1", "data.render.test_images=1"]
    config = resolve(None, "laptop", [*COMMON, *MODELS[name], asked, *sizes]).config
    path = directory / f"{name}-{questions}"
    dataset: Dataset = render_dataset(config, path)
    return Case(name, config, dataset.examples("train"), questions)


def in_fresh_process(function: Callable[[Case, int], float], case: Case, steps: int) -> float:
    """Call a function in a fork of this process, which never computes anything itself."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(function, (case, steps))


def measure(case: Case, turns: int, steps: int) -> tuple[float, float, list[float]]:
    """Median questions per second of both, and the ratio of every turn."""
    ours, theirs = [], []
    for _ in range(turns):
        ours.append(in_fresh_process(packed_steps, case, steps))
        theirs.append(in_fresh_process(trainer_steps, case, steps))
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return statistics.median(ours), statistics.median(theirs), ratios


def main() -> None:
    """Measure every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3, help="how often both are measured, in turns")
    parser.add_argument("--steps", type=int, default=6, help="optimizer steps counted in each turn")
    parser.add_argument("--model", choices=sorted(MODELS), nargs="*", default=list(MODELS))
    parser.add_argument("--questions", type=int, nargs="*", default=[1, 3, 5])
    options = parser.parse_args()
    table = Table("model", "questions", "packed q/s", "Trainer q/s", "ratio", "turns", title="Training throughput")
    with tempfile.TemporaryDirectory() as directory:
        for name in options.model:
            for questions in options.questions:
                case = prepare(name, questions, Path(directory), images=(options.steps + WARM_UP) * 40)
                mine, other, ratios = measure(case, options.turns, options.steps)
                spread = " ".join(f"{ratio:.2f}" for ratio in ratios)
                table.add_row(
                    name, str(questions), f"{mine:.1f}", f"{other:.1f}", f"{statistics.median(ratios):.2f}x", spread
                )
    Console().print(table, f"{torch.get_num_threads()} threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
