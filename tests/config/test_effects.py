"""Every key changes what it claims to change: a key that does nothing is a defect.

For each key: a value, what to look at, and (where the key needs them) overrides that both sides share.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipelines.__main__ import PIPELINES
from pipelines.kubeflow.platform import package
from pipelines.kubeflow.submission import Request, Submission
from receipt_counter.config.loading import resolve, to_yaml
from receipt_counter.config.schema import Config, Gates
from receipt_counter.config.validation import DECLARATIONS
from receipt_counter.data.dataset import Dataset
from receipt_counter.data.render import render_dataset
from receipt_counter.evaluation.evaluate import evaluate_model
from receipt_counter.evaluation.gates import judge
from receipt_counter.model.build import build_model, load_model
from receipt_counter.progress import Progress, Silent
from receipt_counter.steps import prepare_data
from receipt_counter.storage.store import Store
from receipt_counter.study.trial_job import trial_template
from receipt_counter.training.batches import TrainingBatches
from receipt_counter.training.checkpoints import CheckpointStore
from receipt_counter.training.train import train
from tests.forks import Fork
from tests.model.layouts import pretrained, write_native
from tests.pipeline.pipelines_server import PipelinesServer, show
from tests.support import SMALL, write_squares

SGD = ("training.optimizer.name=sgd", "training.learning_rate=0.05")
NADAM = ("training.optimizer.name=nadam",)
ONE_STAGE = ("training.three_stage.enabled=false",)
# three epochs of two steps: one epoch a stage
BASE = (
    *SMALL,
    "training.three_stage.stage2.start_epoch=2",
    "training.three_stage.stage3.start_epoch=3",
    "training.learning_rate=0.01",
    "training.early_stopping.metric=val_lm_loss",
)


@dataclasses.dataclass(frozen=True)
class Effect:
    """What one key changes.

    Args:
        value: to set the key to.
        look: what to look at; its result must differ.
        given: settings shared by both sides.
        base: settings shared by most keys.
    """

    value: str
    look: Callable[[Config, Path], Any]
    given: tuple[str, ...] = ()
    base: tuple[str, ...] = BASE


def squares(directory: Path) -> Dataset:
    path = directory / "squares"
    return Dataset.open(path) if path.exists() else write_squares(path, {"train": 16, "val": 8, "test": 8})


def trained(config: Config, directory: Path) -> Path:
    return train(config, squares(directory), directory / "store", progress=Progress(Silent()))


def weights(config: Config, directory: Path) -> str:
    return hashlib.sha256((trained(config, directory) / "model" / "model.safetensors").read_bytes()).hexdigest()


@functools.cache
def curve(tag: str) -> Callable[[Config, Path], Any]:
    def look(config: Config, directory: Path) -> Any:
        accumulator = EventAccumulator(str(trained(config, directory) / "events"), size_guidance={"scalars": 0})
        accumulator.Reload()
        known = accumulator.Tags()["scalars"]
        return [(event.step, event.value) for event in accumulator.Scalars(tag)] if tag in known else None

    return look


@functools.cache
def recorded(*names: str) -> Callable[[Config, Path], Any]:
    def look(config: Config, directory: Path) -> Any:
        record = json.loads((trained(config, directory) / "run.json").read_text())
        return [record[name] for name in names]

    return look


def val_figures(config: Config, directory: Path) -> Any:
    return sorted(json.loads((trained(config, directory) / "run.json").read_text())["splits"]["val"])


def processes(config: Config, directory: Path) -> Any:
    """By the command: a process that once trained with others cannot train alone."""
    directory.mkdir()
    (directory / "config.yaml").write_text(to_yaml(config))
    options = ["--config", str(directory / "config.yaml"), "--data", str(squares(directory).path)]
    options += ["--store", str(directory / "store")]
    # training in this process has left its place among one process behind
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    process = Fork("receipt_counter.training", options, directory / "log.txt", environment=environment)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    (run,) = (directory / "store" / "runs").iterdir()
    return json.loads((run / "run.json").read_text())["lineage"]["processes"]


def checkpoints(config: Config, directory: Path) -> Any:
    run = trained(config, directory)
    return sorted(path.name for path in (run / "checkpoints").iterdir() if path.name.startswith("step-"))


def checkpoint_files(config: Config, directory: Path) -> Any:
    newest = sorted((trained(config, directory) / "checkpoints").glob("step-*"))[-1]
    return sorted(path.name for path in (newest / "engine").iterdir())


def saves(config: Config, directory: Path) -> int:
    """How often training saved."""
    calls: list[int] = []
    original = CheckpointStore.prune

    def counting(self: CheckpointStore, best_step: int | None) -> None:
        calls.append(1)
        original(self, best_step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CheckpointStore, "prune", counting)
        trained(config, directory)
    return len(calls)


def deterministic(config: Config, directory: Path) -> bool:
    torch.use_deterministic_algorithms(False)
    trained(config, directory)
    try:
        return torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def worker_processes(config: Config, directory: Path) -> int:
    examples = squares(directory).examples("train")
    _, processor = build_model(config, ["How many receipts do you see?"])
    epoch = TrainingBatches(examples, processor, config).epoch(1)
    next(epoch)
    return len(psutil.Process().children())


def evaluated(*path: str) -> Callable[[Config, Path], Any]:
    def look(config: Config, directory: Path) -> Any:
        model, processor = load_model(trained(resolve(None, "laptop", BASE).config, directory) / "model")
        dataset = squares(directory)
        output = directory / "evaluation"
        found: Any = evaluate_model(model, processor, dataset, "test", config, output, "cpu")
        found["predictions"] = (output / "predictions.jsonl").read_text()
        for name in path:
            found = found.get(name)
        return found

    return look


def answers(config: Config, directory: Path) -> Any:
    lines = evaluated("predictions")(config, directory).splitlines()
    return [answer["predicted"] for line in lines for answer in json.loads(line)["answers"]]


def evaluation_batches(config: Config, directory: Path) -> int:
    model, processor = load_model(trained(resolve(None, "laptop", BASE).config, directory) / "model")
    calls: list[int] = []
    evaluate_model(
        model, processor, squares(directory), "test", config, directory / "e", "cpu", lambda done, _: calls.append(done)
    )
    return len(calls)


def verdicts(config: Config, directory: Path) -> Any:
    # half-way between the default bounds: above the minimum, below the target
    defaults = {field.name: getattr(Gates(), field.name) for field in dataclasses.fields(Gates)}
    middle = {name: (gate.target + gate.minimum) / 2 for name, gate in defaults.items()}
    figures = {name: {"value": value, "low": value, "high": value} for name, value in middle.items()}
    return {name: gate["verdict"] for name, gate in judge(figures, config.gates).items()}


RENDERING = (
    "data.image_size=64",
    "data.render.train_images=12",
    "data.render.val_images=2",
    "data.render.analysis_images=2",
    "data.render.test_images=2",
)
ALL_TYPES = tuple(f"data.render.question_mix.{name}=1" for name in ("counting", "existence", "value", "detail", "edge"))


def rendered(config: Config, directory: Path) -> str:
    path = directory / hashlib.sha256(repr(config.data).encode()).hexdigest()
    return render_dataset(config, path, workers=1).fingerprint


def prepared(config: Config, directory: Path) -> str:
    return prepare_data(config, Store(directory / "store"), Progress(Silent())).name


def trial(config: Config, directory: Path) -> str:
    return json.dumps(trial_template(config.cluster, "study", "files", 1, [], {}))


def steps(config: Config, directory: Path) -> str:
    return package(PIPELINES["single"], config.cluster, {})


def asked_namespace(config: Config, directory: Path) -> str:
    with PipelinesServer() as server:
        server.on_look = lambda run: show(run, "SUCCEEDED")
        values = {"config": to_yaml(config), "code_version": "1", "store": "/s", "experiment_name": "e"}
        request = Request("single", "name", "mine", values["config"], values, {}, host=server.url)
        Submission(request, Progress(Silent())).run()
        return str(server.experiments[0].namespace)


def parameters(config: Config, directory: Path) -> int:
    return sum(p.numel() for p in build_model(config, ["How many receipts do you see?"])[0].parameters())


def architecture(name: str, value: str) -> dict[str, Effect]:
    return {f"model.architecture.{name}": Effect(value, weights)}


LONG = ("training.epochs=5", "training.early_stopping.patience=1", "training.early_stopping.min_delta=100")
EFFECTS = {
    "seed": Effect("7", weights),
    "model.checkpoint": Effect("{checkpoint}", parameters, ("data.image_size=224",)),
    "model.classes": Effect("4", weights),
    "model.freeze_vision_encoder": Effect("true", curve("learning_rate_vision")),
    **architecture("vision_width", "48"),
    **architecture("vision_layers", "3"),
    **architecture("vision_heads", "2"),
    **architecture("patch_size", "32"),
    **architecture("conv_stem", "false"),
    **architecture("language_width", "48"),
    **architecture("language_layers", "2"),
    **architecture("language_heads", "2"),
    "model.architecture.vocabulary": Effect("301", weights),
    "model.classifier.hidden": Effect("[24]", weights),
    "model.classifier.dropout": Effect("[0.5]", weights),
    "model.classifier.norm": Effect("layer", weights),
    "model.classifier.activation": Effect("relu", weights),
    "model.cross_attention.num_heads": Effect("0", weights),
    "model.cross_attention.dropout": Effect("0.5", weights),
    "data.path": Effect("{squares}", prepared, RENDERING),
    "data.batch_size": Effect("4", weights),
    "data.num_workers": Effect("2", worker_processes),
    "data.image_size": Effect("96", weights),
    "data.augmentation": Effect("true", weights),
    "data.epoch_images": Effect("8", recorded("step")),
    "data.max_text_length": Effect("12", weights),
    "data.render.seed": Effect("1", rendered, RENDERING),
    "data.render.train_images": Effect("13", rendered, RENDERING),
    "data.render.val_images": Effect("3", rendered, RENDERING),
    "data.render.analysis_images": Effect("3", rendered, RENDERING),
    "data.render.test_images": Effect("3", rendered, RENDERING),
    "data.render.max_receipts": Effect("2", rendered, RENDERING),
    "data.render.questions_per_image": Effect("1", rendered, RENDERING),
    **{
        f"data.render.question_mix.{name}": Effect("0", rendered, (*RENDERING, "data.image_size=224", *ALL_TYPES))
        for name in ("counting", "existence", "value", "detail", "edge")
    },
    "training.epochs": Effect("4", recorded("epochs")),
    "training.learning_rate": Effect("0.001", weights),
    "training.gradient_accumulation_steps": Effect("2", recorded("step")),
    "training.processes": Effect("1", processes),
    "training.gradient_clip": Effect("0.01", weights, SGD),
    "training.precision": Effect("bf16", weights, NADAM),
    "training.zero_stage": Effect("1", checkpoint_files, NADAM),
    "training.deterministic": Effect("true", deterministic),
    "training.log_every_steps": Effect("2", curve("train_total_loss")),
    **{
        f"training.learning_rate_multipliers.{name}": Effect("0.5", curve(f"learning_rate_{name}"))
        for name in ("projector", "language", "cross_attention", "head")
    },
    "training.learning_rate_multipliers.vision": Effect("0.5", curve("learning_rate_vision"), ONE_STAGE, SMALL),
    "training.optimizer.name": Effect("nadam", weights),
    "training.optimizer.weight_decay": Effect("5", weights),
    "training.optimizer.betas": Effect("[0.5, 0.9]", weights),
    "training.optimizer.momentum": Effect("0.1", weights, SGD),
    "training.schedule.name": Effect("linear", curve("learning_rate_head")),
    "training.schedule.epochs": Effect("9", curve("learning_rate_head")),
    "training.schedule.warmup_steps": Effect("4", curve("learning_rate_head")),
    "training.schedule.min_ratio": Effect("0.5", curve("learning_rate_head")),
    "training.loss_weights.classification": Effect("0", weights),
    "training.loss_weights.language": Effect("2", weights),
    "training.three_stage.enabled": Effect("false", curve("stage")),
    "training.three_stage.stage2.start_epoch": Effect("3", curve("stage")),
    "training.three_stage.stage2.lr_multiplier": Effect("0.5", curve("learning_rate_vision")),
    "training.three_stage.stage2.vision_layers": Effect("2", weights),
    "training.three_stage.stage3.start_epoch": Effect("2", curve("stage")),
    "training.three_stage.stage3.lr_multiplier": Effect("0.5", curve("learning_rate_head")),
    "training.early_stopping.enabled": Effect("false", recorded("epochs"), LONG),
    "training.early_stopping.metric": Effect("answer_accuracy", recorded("best_epoch")),
    "training.early_stopping.patience": Effect("2", recorded("epochs"), (LONG[0], LONG[2])),
    "training.early_stopping.min_delta": Effect("100", recorded("epochs"), LONG[:2]),
    "training.checkpoint.every_steps": Effect("1", saves),
    "training.checkpoint.keep": Effect("1", checkpoints),
    "evaluation.batch_size": Effect("2", evaluation_batches),
    "evaluation.max_new_tokens": Effect("1", answers),
    "evaluation.epoch_answer_images": Effect("0", val_figures),
    "evaluation.perplexity": Effect("false", val_figures),
    "evaluation.bootstrap_samples": Effect("500", evaluated("bootstrap")),
    **{
        f"gates.{field.name}.{bound}": Effect(str(getattr(getattr(Gates(), field.name), other)), verdicts)
        for field in dataclasses.fields(Gates)
        for bound, other in (("target", "minimum"), ("minimum", "target"))
    },
    "cluster.namespace": Effect("other", asked_namespace),
    "cluster.image": Effect("other:1", trial),
    "cluster.training_image": Effect("other:1", trial),
    "cluster.nodes": Effect("2", trial),
    "cluster.gpus": Effect("2", trial),
    "cluster.gpu_type": Effect("NVIDIA-H200", trial),
    "cluster.cpu": Effect("3", trial),
    "cluster.memory": Effect("3Gi", trial),
    "cluster.step_cpu": Effect("3", steps),
    "cluster.step_memory": Effect("3Gi", steps),
    "cluster.node_selector": Effect("[pool=big]", trial),
    "cluster.tolerations": Effect("['spot=true:NoSchedule']", trial),
    "cluster.retries": Effect("2", trial),
    "cluster.store": Effect("s3://bucket/prefix", trial),
    "cluster.volume": Effect("other", trial),
    "cluster.credentials": Effect("other", trial, ("cluster.store=s3://bucket/prefix",)),
    "cluster.service_account": Effect("other", trial),
    "cluster.priority_class": Effect("low", trial),
    "cluster.queue": Effect("gpus", trial),
}


def test_every_key_is_tried() -> None:
    assert set(EFFECTS) == set(DECLARATIONS)


# What a look saw on the side that several keys share.
BEFORE: dict[tuple[Any, ...], Any] = {}


@pytest.mark.parametrize("key", EFFECTS)
def test_effect(key: str, tmp_path: Path) -> None:
    effect = EFFECTS[key]
    value = effect.value
    if "{squares}" in value:
        value = str(squares(tmp_path).path)
    if "{checkpoint}" in value:
        value = str(write_native(pretrained(tied=True), tmp_path / "checkpoint"))
    # in a file, so that an override may switch off what the file sets
    file = tmp_path / "base.yaml"
    file.write_text(nested([*effect.base, *effect.given]))
    # a default in a file yields to the preset's two processes
    alone = [] if key == "training.processes" else ["training.processes=1"]
    side = (effect.look, effect.base, effect.given, *alone)
    if side not in BEFORE:
        BEFORE[side] = effect.look(resolve(file, "laptop", alone).config, tmp_path / "before")
    after = effect.look(resolve(file, "laptop", [*alone, f"{key}={value}"]).config, tmp_path / "after")
    assert BEFORE[side] != after


def nested(settings: list[str]) -> str:
    """KEY=VALUE texts as a YAML file."""
    tree: dict[str, Any] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        *groups, leaf = name.split(".")
        branch = tree
        for group in groups:
            branch = branch.setdefault(group, {})
        branch[leaf] = yaml.safe_load(value)
    return str(yaml.safe_dump(tree))
