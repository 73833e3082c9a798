"""The config: one frozen tree of dataclasses, every key documented and bounded where it is declared.

The defaults are the full-scale reference values; `config/multimodal_config.yaml` carries the same ones.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from receipt_counter.config.cluster import Cluster
from receipt_counter.config.keys import group, key

OBJECTIVES_MINIMISED = ("val_total_loss", "val_cls_loss", "val_lm_loss")
OBJECTIVES_MAXIMISED = (
    "classification_accuracy",
    "classification_f1",
    "generation_bleu",
    "generation_rouge1_f",
    "answer_accuracy",
)


@dataclass(frozen=True)
class Architecture:
    """A tiny InternVL built from nothing; has no effect when `model.checkpoint` names weights."""

    vision_width: int = key(64, "Hidden size of the vision transformer.", minimum=16, maximum=1024)
    vision_layers: int = key(2, "Layers of the vision transformer.", minimum=1, maximum=24)
    vision_heads: int = key(4, "Attention heads of the vision transformer.", minimum=1, maximum=16)
    patch_size: int = key(16, "Side of one image patch, pixels.", choices=(8, 16, 32))
    conv_stem: bool = key(True, "Small convolutions before the patches; tiny models learn strokes far faster with it.")
    language_width: int = key(64, "Hidden size of the language model.", minimum=16, maximum=1024)
    language_layers: int = key(2, "Layers of the language model.", minimum=1, maximum=24)
    language_heads: int = key(4, "Attention heads of the language model.", minimum=1, maximum=16)
    vocabulary: int = key(1024, "Largest size of the tokenizer learnt from the training texts.", minimum=300)


@dataclass(frozen=True)
class Classifier:
    """The count head: pooled vision features -> hidden layers -> classes."""

    hidden: tuple[int, ...] = key((512, 256), "Widths of the hidden layers.", minimum=1)
    dropout: tuple[float, ...] = key((0.2, 0.1), "Dropout after each hidden layer.", minimum=0.0, maximum=0.95)
    norm: str = key("batch", "Normalisation of each hidden layer.", choices=("batch", "layer", "none"))
    activation: str = key("gelu", "Activation of each hidden layer.", choices=("gelu", "relu", "silu"))


@dataclass(frozen=True)
class CrossAttention:
    """A residual block, gated at zero, in which answer states attend to the image features."""

    num_heads: int = key(8, "Attention heads; 0 removes the block.", minimum=0, maximum=64)
    dropout: float = key(0.1, "Dropout of the attention weights and of the block's output.", minimum=0.0, maximum=0.95)


@dataclass(frozen=True)
class Model:
    """The model: InternVL, a count head and gated cross-attention."""

    checkpoint: str | None = key(
        None, "Pretrained InternVL: a directory or a hub name already on this machine; null builds `architecture`."
    )
    classes: int = key(3, "Count classes: 0, 1, ... and 'that many or more'.", minimum=2, maximum=6)
    freeze_vision_encoder: bool = key(False, "Never train the vision encoder, whatever the stages say.")
    architecture: Architecture = group(Architecture, "The tiny InternVL built when there is no checkpoint.")
    classifier: Classifier = group(Classifier, "The count head.")
    cross_attention: CrossAttention = group(CrossAttention, "The gated cross-attention.")


@dataclass(frozen=True)
class QuestionMix:
    """Share of each question type among rendered questions (normalised to sum to one)."""

    counting: float = key(0.4, "How many receipts there are.", minimum=0.0)
    existence: float = key(0.0, "Whether there is any receipt.", minimum=0.0)
    value: float = key(0.3, "Amounts: totals, tax, prices.", minimum=0.0)
    detail: float = key(0.2, "Store, date, payment, number of items.", minimum=0.0)
    edge: float = key(0.1, "Questions with a catch: absent things, comparisons, other papers.", minimum=0.0)


@dataclass(frozen=True)
class Render:
    """The rendered receipts; has no effect when `data.path` names a dataset."""

    seed: int = key(0, "Seed of the pictures, apart from the training seed: all seeds see the same data.", minimum=0)
    train_images: int = key(20000, "Images of the train split.", minimum=1)
    val_images: int = key(2000, "Images of the val split.", minimum=1)
    analysis_images: int = key(2000, "Images of the analysis split.", minimum=1)
    test_images: int = key(2000, "Images of the test split.", minimum=1)
    max_receipts: int = key(5, "Most receipts in one picture.", minimum=1, maximum=5)
    questions_per_image: int = key(3, "Questions asked about each image.", minimum=1, maximum=8)
    question_mix: QuestionMix = group(QuestionMix, "Share of each question type.")


@dataclass(frozen=True)
class Data:
    """The data a run sees."""

    path: str | None = key(None, "Dataset directory made by `data render` or `data import`; null renders one.")
    batch_size: int = key(16, "Images per optimizer micro-batch and process; each brings all its questions.", minimum=1)
    num_workers: int = key(4, "Processes that decode and augment images; 0 does it in the training process.", minimum=0)
    image_size: int = key(448, "Side of the square the model sees, pixels.", minimum=32, maximum=1344)
    augmentation: bool = key(True, "Random light, noise, small turns and shifts in training; never mirrors text.")
    epoch_images: int | None = key(
        None,
        "Most train images in an epoch; null: the whole split. Stages are counted in epochs.",
        minimum=1,
    )
    max_text_length: int = key(128, "Most tokens of one question with its answer.", minimum=8, maximum=4096)
    render: Render = group(Render, "The rendered receipts used when `path` is null.")


@dataclass(frozen=True)
class LearningRateMultipliers:
    """Each part's learning rate = training.learning_rate x its multiplier x the schedule."""

    vision: float = key(0.01, "Vision encoder (the backbone).", minimum=0.0)
    projector: float = key(1.0, "Projector from vision to language.", minimum=0.0)
    language: float = key(0.1, "Language model.", minimum=0.0)
    cross_attention: float = key(1.0, "Gated cross-attention.", minimum=0.0)
    head: float = key(1.0, "Count head.", minimum=0.0)


@dataclass(frozen=True)
class Optimizer:
    """The optimizer. All but muon act element by element, so ZeRO may flatten their parameters."""

    name: str = key("adamw", "Algorithm.", choices=("adamw", "nadam", "radam", "sgd", "muon"))
    weight_decay: float = key(0.01, "Decoupled weight decay of matrices (not of norms, biases, gates).", minimum=0.0)
    betas: tuple[float, ...] = key((0.9, 0.999), "Decay of the two moments (not sgd).", minimum=0.0, maximum=0.99999)
    momentum: float = key(0.9, "Momentum (sgd and muon).", minimum=0.0, maximum=0.9999)


@dataclass(frozen=True)
class Schedule:
    """The learning-rate schedule, from warm-up to its horizon."""

    name: str = key("cosine", "Shape after warm-up.", choices=("cosine", "linear", "constant"))
    epochs: int = key(15, "Horizon of the schedule; training may stop before or go on after it.", minimum=1)
    warmup_steps: int = key(500, "Optimizer steps from zero to the full rate.", minimum=0)
    min_ratio: float = key(0.1, "Share of the full rate left at the horizon.", minimum=0.0, maximum=1.0)


@dataclass(frozen=True)
class LossWeights:
    """Joint loss = classification x count loss + language x answer loss."""

    classification: float = key(1.0, "Weight of the count loss.", minimum=0.0)
    language: float = key(1.0, "Weight of the answer loss.", minimum=0.0)


@dataclass(frozen=True)
class Stage2:
    """The last vision layers start to train."""

    start_epoch: int = key(6, "First epoch of the stage, counted from 1.", minimum=1)
    lr_multiplier: float = key(0.01, "Replaces the vision encoder's multiplier while the stage lasts.", minimum=0.0)
    vision_layers: int = key(4, "How many of the last vision layers train.", minimum=0)


@dataclass(frozen=True)
class Stage3:
    """Everything trains."""

    start_epoch: int = key(11, "First epoch of the stage, counted from 1.", minimum=1)
    lr_multiplier: float = key(0.01, "Replaces every part's multiplier while the stage lasts.", minimum=0.0)


@dataclass(frozen=True)
class ThreeStage:
    """Stage 1 leaves the vision encoder frozen; stages 2 and 3 open it."""

    enabled: bool = key(True, "false: one stage, everything trains from epoch 1.")
    stage2: Stage2 = group(Stage2, "Part of the vision encoder trains.")
    stage3: Stage3 = group(Stage3, "Everything trains.")


@dataclass(frozen=True)
class EarlyStopping:
    """Stops when the objective no longer improves; the best epoch's model is kept either way."""

    enabled: bool = key(True, "false: train all epochs.")
    metric: str = key(
        "val_total_loss",
        "The objective, on the val split; also chooses the best epoch.",
        choices=OBJECTIVES_MINIMISED + OBJECTIVES_MAXIMISED,
    )
    patience: int = key(5, "Epochs without improvement before stopping.", minimum=1)
    min_delta: float = key(0.01, "Smallest change that counts as an improvement.", minimum=0.0)


@dataclass(frozen=True)
class Checkpoint:
    """Where training can continue from."""

    every_steps: int = key(500, "Optimizer steps between checkpoints; each epoch ends with one too.", minimum=1)
    keep: int = key(2, "How many of the newest complete checkpoints stay.", minimum=1)


@dataclass(frozen=True)
class Training:
    """How the model is trained."""

    epochs: int = key(15, "Where training stops.", minimum=1)
    learning_rate: float = key(2e-5, "Base learning rate at the top of the schedule.", above=0.0)
    gradient_accumulation_steps: int = key(1, "Micro-batches per optimizer step.", minimum=1)
    gradient_clip: float = key(1.0, "Largest global gradient norm; 0 does not clip.", minimum=0.0)
    processes: int = key(
        1, "Processes that train together on each machine: one a GPU, or one for some CPU cores.", minimum=1, maximum=64
    )
    precision: str = key("fp32", "Number format of weights and activations.", choices=("fp32", "bf16"))
    zero_stage: int = key(
        0,
        "DeepSpeed ZeRO stage: what the processes share out (0 nothing, 1 moments, 2 gradients too).",
        choices=(0, 1, 2),
    )
    deterministic: bool = key(False, "Bit-identical runs on a GPU too, at some cost in speed (a CPU always is).")
    log_every_steps: int = key(10, "Optimizer steps between TensorBoard points and printed values.", minimum=1)
    learning_rate_multipliers: LearningRateMultipliers = group(LearningRateMultipliers, "Rate of each part.")
    optimizer: Optimizer = group(Optimizer, "The optimizer.")
    schedule: Schedule = group(Schedule, "The learning-rate schedule.")
    loss_weights: LossWeights = group(LossWeights, "Balance of the two losses.")
    three_stage: ThreeStage = group(ThreeStage, "Which parts train when.")
    early_stopping: EarlyStopping = group(EarlyStopping, "When to stop, and which epoch is best.")
    checkpoint: Checkpoint = group(Checkpoint, "Where training can continue from.")


@dataclass(frozen=True)
class Evaluation:
    """How a model is judged."""

    batch_size: int = key(32, "Images per batch.", minimum=1)
    max_new_tokens: int = key(64, "Longest answer, tokens.", minimum=1)
    epoch_answer_images: int = key(200, "Val images answered in words after each epoch (0: none).", minimum=0)
    perplexity: bool = key(True, "Also compute the perplexity of the true answers.")
    bootstrap_samples: int = key(2000, "Resamples of the 95 % intervals.", minimum=100)


@dataclass(frozen=True)
class Gate:
    """A promotion gate: the target aimed for and the minimum required."""

    target: float = key(0.0, "The figure aimed for.", minimum=0.0)
    minimum: float = key(0.0, "The worst figure with which a model may be promoted.", minimum=0.0)


def gate(target: float, minimum: float, doc: str) -> Any:
    """Declare a promotion gate with its own defaults."""
    return field(default_factory=lambda: Gate(target, minimum), metadata={"doc": doc})


@dataclass(frozen=True)
class Gates:
    """The promotion gates, on the test split."""

    classification_accuracy: Gate = gate(0.95, 0.90, "Counting accuracy.")
    answer_accuracy: Gate = gate(0.90, 0.85, "Answers that are exactly right.")
    generation_bleu: Gate = gate(0.70, 0.60, "BLEU-4 of the answers, 0 to 1.")
    generation_rougeL_f: Gate = gate(0.75, 0.65, "ROUGE-L of the answers, 0 to 1.")
    seconds_per_image: Gate = gate(2.0, 5.0, "Seconds to count and answer one image; lower is better.")
    model_gigabytes: Gate = gate(5.0, 10.0, "Size of the saved model, GB; lower is better.")


@dataclass(frozen=True)
class Config:
    """One experiment, fully decided."""

    seed: int = key(42, "Seed of weights, order, dropout and augmentation.", minimum=0, maximum=2**31 - 1)
    model: Model = group(Model, "The model.")
    data: Data = group(Data, "The data.")
    training: Training = group(Training, "The training.")
    evaluation: Evaluation = group(Evaluation, "The evaluation.")
    gates: Gates = group(Gates, "The promotion gates.")
    cluster: Cluster = group(Cluster, "Where and on what it runs on Kubernetes; on one machine nothing of it counts.")


def leaves(tree: Any, prefix: str = "") -> dict[str, Any]:
    """All keys of a config (or a part of it) by dotted name, in declaration order.

    Args:
        tree: a config dataclass instance.
        prefix: put before each name, with a dot.

    Returns:
        {dotted name: value}.
    """
    found: dict[str, Any] = {}
    for item in dataclasses.fields(tree):
        name = f"{prefix}.{item.name}" if prefix else item.name
        value = getattr(tree, item.name)
        if dataclasses.is_dataclass(value):
            found.update(leaves(value, name))
        else:
            found[name] = value
    return found
