"""Makes a model and its processor, from a config or from a directory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import InternVLConfig, InternVLVisionConfig, Qwen2Config

from receipt_counter.config.schema import Architecture, Config
from receipt_counter.config.weights import find_weights
from receipt_counter.errors import UserError
from receipt_counter.model.checkpoint import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Checkpoint,
    read_checkpoint,
)
from receipt_counter.model.configuration import ReceiptCounterConfig
from receipt_counter.model.geometry import image_tokens, require_divisor
from receipt_counter.model.processor import ReceiptProcessor
from receipt_counter.model.quiet import quiet_transformers
from receipt_counter.model.receipt_counter import ReceiptCounter
from receipt_counter.model.tokenizer import IMAGE_TOKEN, PAD, TURN_END, learn_tokenizer

DOWNSAMPLE_RATIO = 0.5  # of every InternVL
INITIAL_STD = 0.1  # of the tiny model's weights: InternVL's 0.02 is meant for a width of 1,024


def build_model(config: Config, texts: Iterable[str]) -> tuple[ReceiptCounter, ReceiptProcessor]:
    """Builds the model a config describes; what is not pretrained comes from torch's current seed.

    Args:
        config: the experiment's config.
        texts: train questions and answers; the tiny model's tokenizer is learnt from them.

    Returns:
        The model, in float32 on the CPU and in training mode, and its processor.

    Raises:
        UserError: values that do not fit together, by the name of the key to change; an unusable checkpoint.
    """
    name = config.model.checkpoint
    if name is None:
        tokenizer = learn_tokenizer(texts, config.model.architecture.vocabulary)
        inner = _tiny_internvl(config, tokenizer)
        model = ReceiptCounter(_wrap(config, inner))
        statistics = (IMAGENET_MEAN, IMAGENET_STD)
    else:
        directory = find_weights(name)
        if directory is None:
            raise UserError(
                f"model.checkpoint is {name}, which is neither a directory with a config.json "
                "nor a hub model whose safetensors are on this machine"
            )
        checkpoint = read_checkpoint(directory, config.data.image_size)
        tokenizer, inner = checkpoint.tokenizer, checkpoint.config
        model = _pretrained(_wrap(config, inner), checkpoint)
        statistics = (checkpoint.image_mean, checkpoint.image_std)
    processor = ReceiptProcessor(
        tokenizer,
        image_size=config.data.image_size,
        image_tokens=inner.image_seq_length,
        max_text_length=config.data.max_text_length,
        image_mean=statistics[0],
        image_std=statistics[1],
    )
    return model.train(), processor


def load_model(directory: Path) -> tuple[ReceiptCounter, ReceiptProcessor]:
    """Loads what `save_pretrained` of both wrote, in the precision it was saved in.

    Args:
        directory: of a saved model.

    Returns:
        The model, ready to answer (evaluation mode), and its processor.

    Raises:
        UserError: the directory holds no saved model, or a damaged one.
    """
    try:
        processor = ReceiptProcessor.from_pretrained(directory)
        with quiet_transformers():
            model = ReceiptCounter.from_pretrained(directory, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{directory}: the saved model cannot be read ({str(error).splitlines()[0]})") from error
    return model.eval(), processor


def _tiny_internvl(config: Config, tokenizer: Any) -> InternVLConfig:
    shape = config.model.architecture
    size = config.data.image_size
    _check_rotary(shape)
    tokens = image_tokens(size, shape.patch_size, DOWNSAMPLE_RATIO)
    vision = InternVLVisionConfig(
        hidden_size=shape.vision_width,
        num_hidden_layers=shape.vision_layers,
        num_attention_heads=shape.vision_heads,
        intermediate_size=4 * shape.vision_width,
        image_size=size,
        patch_size=shape.patch_size,
        attention_bias=True,
        # InternVL's 0.1 is meant for 24 layers: two layers scaled so far down hardly see anything.
        layer_scale_init_value=1.0,
        initializer_range=INITIAL_STD,
    )
    text = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.language_width,
        num_hidden_layers=shape.language_layers,
        num_attention_heads=shape.language_heads,
        num_key_value_heads=shape.language_heads,
        intermediate_size=3 * shape.language_width,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        initializer_range=INITIAL_STD,
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
        eos_token_id=tokenizer.convert_tokens_to_ids(TURN_END),
        bos_token_id=None,
    )
    return InternVLConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        image_seq_length=tokens,
        downsample_ratio=DOWNSAMPLE_RATIO,
        tie_word_embeddings=True,
        initializer_range=INITIAL_STD,
    )


def _check_rotary(shape: Architecture) -> None:
    """Rotary positions turn channels in pairs, so each head needs an even number of them."""
    width, pairs = shape.language_width, 2 * shape.language_heads
    if width % pairs:
        below, above = width // pairs * pairs, (width // pairs + 1) * pairs
        raise UserError(
            f"model.architecture.language_width is {width}, but must be a multiple of {pairs}, "
            f"twice model.architecture.language_heads: nearest {f'{below} or {above}' if below else above}"
        )


def _wrap(config: Config, inner: InternVLConfig) -> ReceiptCounterConfig:
    model = config.model
    heads = model.cross_attention.num_heads
    if heads:
        width = inner.text_config.hidden_size
        require_divisor("model.cross_attention.num_heads", heads, width, "the language model's width")
    if len(model.classifier.hidden) != len(model.classifier.dropout):
        raise UserError(
            f"model.classifier.dropout has {len(model.classifier.dropout)} values, "
            f"but model.classifier.hidden {len(model.classifier.hidden)}: one for each layer"
        )
    return ReceiptCounterConfig(
        internvl_config=inner,
        conv_stem=model.checkpoint is None and model.architecture.conv_stem,
        classes=model.classes,
        classifier_hidden=model.classifier.hidden,
        classifier_dropout=model.classifier.dropout,
        classifier_norm=model.classifier.norm,
        classifier_activation=model.classifier.activation,
        cross_attention_heads=heads,
        cross_attention_dropout=model.cross_attention.dropout,
        initializer_range=INITIAL_STD if model.checkpoint is None else inner.text_config.initializer_range,
    )


def _pretrained(config: ReceiptCounterConfig, checkpoint: Checkpoint) -> ReceiptCounter:
    """A model with a checkpoint's weights; only the head and the cross-attention are new."""
    weights = {f"internvl.{name}": tensor for name, tensor in checkpoint.weights.items()}
    with quiet_transformers():
        loaded, report = ReceiptCounter.from_pretrained(
            None,
            config=config,
            state_dict=weights,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # reported below, by name
            output_loading_info=True,
        )
    problems = {
        "missing": [name for name in report["missing_keys"] if name.startswith("internvl.")],
        "unknown": report["unexpected_keys"],
        "of another shape": [name for name, *_shapes in report["mismatched_keys"]],
    }
    if any(problems.values()):
        listed = "; ".join(
            f"{what}: {', '.join(sorted(name.removeprefix('internvl.') for name in names))}"
            for what, names in problems.items()
            if names
        )
        raise UserError(f"{checkpoint.directory}: its weights do not fit its config.json ({listed})")
    model: ReceiptCounter = loaded
    return model
