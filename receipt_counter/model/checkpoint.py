"""Pretrained InternVL from disk: both layouts, safetensors only, no code from the checkpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from transformers import AutoTokenizer, InternVLConfig

from receipt_counter.errors import UserError
from receipt_counter.model import original_layout
from receipt_counter.model.geometry import image_tokens
from receipt_counter.model.tokenizer import IMAGE_TOKEN, SPECIAL_TOKENS

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "vocab.json")
LANGUAGE_MODELS = tuple(original_layout.LANGUAGE_MODELS.values())

# All InternVL checkpoints normalise pixels with ImageNet's statistics.
IMAGENET_MEAN: tuple[float, ...] = (0.485, 0.456, 0.406)
IMAGENET_STD: tuple[float, ...] = (0.229, 0.224, 0.225)

# Hub checkpoints keep the names transformers used before it moved InternVL's parts under `model.`.
_MOVED = (
    ("language_model.lm_head.", "lm_head."),
    ("language_model.model.", "model.language_model."),
    ("vision_tower.", "model.vision_tower."),
    ("multi_modal_projector.", "model.multi_modal_projector."),
)
_POSITIONS = "model.vision_tower.embeddings.position_embeddings"
_EMBEDDING = "model.language_model.embed_tokens.weight"
_LM_HEAD = "lm_head.weight"


@dataclass(frozen=True)
class Checkpoint:
    """A pretrained InternVL, in transformers' present names.

    Args:
        directory: where it was read from, for messages.
        config: its description, at the image size asked for.
        weights: name -> tensor, as `InternVLForConditionalGeneration` names them.
        tokenizer: its own.
        image_mean: pixel mean of each channel, 0 to 1.
        image_std: pixel standard deviation of each channel.
    """

    directory: Path
    config: InternVLConfig
    weights: dict[str, Tensor]
    tokenizer: Any
    image_mean: tuple[float, ...]
    image_std: tuple[float, ...]


def read_checkpoint(directory: Path, image_size: int) -> Checkpoint:
    """Reads a checkpoint of either layout.

    Args:
        directory: with config.json, safetensors and tokenizer files.
        image_size: side of the square the model will see, pixels; position embeddings are interpolated to it.

    Raises:
        UserError: something is missing, or of a kind that cannot be loaded.
    """
    described = _read_json(directory / "config.json")
    weights = _read_weights(directory)
    original = described.get("model_type") == original_layout.MODEL_TYPE
    try:
        config = (original_layout.convert_config if original else _native_config)(described, directory)
    except StrictDataclassError as error:
        raise UserError(f"{directory}/config.json: {error}") from None
    if original:
        weights = original_layout.convert_weights(weights)
    weights = {_moved(name): tensor for name, tensor in weights.items()}
    tokenizer = _read_tokenizer(directory, config.text_config.vocab_size)
    config.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    _settle_tying(config, weights)
    _settle_image_size(config, weights, image_size)
    pixels = _pixel_statistics(directory)
    mean, std = pixels.get("image_mean", IMAGENET_MEAN), pixels.get("image_std", IMAGENET_STD)
    return Checkpoint(directory, config, weights, tokenizer, tuple(mean), tuple(std))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.parent}: not a checkpoint ({path.name} is missing)") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object")
    return content


def _read_weights(directory: Path) -> dict[str, Tensor]:
    if (directory / INDEX).is_file():
        files = sorted(set(_read_json(directory / INDEX)["weight_map"].values()))
    else:
        files = [WEIGHTS]
    if absent := [name for name in files if not (directory / name).is_file()]:
        pickled = sorted(path.name for path in directory.glob("*.bin"))
        hint = f"; {pickled[0]} is a pickle, which could run code: convert it to safetensors" if pickled else ""
        raise UserError(f"{directory}: {', '.join(absent)} missing{hint}")
    weights: dict[str, Tensor] = {}
    for name in files:
        try:
            weights |= load_file(directory / name)
        except SafetensorError as error:
            raise UserError(f"{directory / name}: damaged or incomplete ({error})") from None
    return weights


def _native_config(described: dict[str, Any], directory: Path) -> InternVLConfig:
    if (kind := described.get("model_type")) != InternVLConfig.model_type:
        raise UserError(
            f"{directory}/config.json: model_type is {kind!r}, not an InternVL "
            f"({InternVLConfig.model_type!r} or {original_layout.MODEL_TYPE!r})"
        )
    config = InternVLConfig.from_dict(described)
    if config.text_config.model_type not in LANGUAGE_MODELS:
        raise UserError(
            f"{directory}/config.json: text_config.model_type is {config.text_config.model_type!r}; "
            f"only {' and '.join(LANGUAGE_MODELS)} can be loaded"
        )
    if config.vision_feature_layer != -1 or config.vision_feature_select_strategy != "default":
        raise UserError(
            f"{directory}/config.json: only vision_feature_layer -1 with vision_feature_select_strategy "
            f"'default' can be loaded, not {config.vision_feature_layer!r} with "
            f"{config.vision_feature_select_strategy!r}"
        )
    return config


def _moved(name: str) -> str:
    for old, new in _MOVED:
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _read_tokenizer(directory: Path, vocabulary: int) -> Any:
    # transformers makes up an empty tokenizer where there is none.
    if not any((directory / name).is_file() for name in TOKENIZERS):
        raise UserError(f"{directory}: no tokenizer here ({' or '.join(TOKENIZERS)})")
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{directory}: its tokenizer cannot be read ({str(error).splitlines()[0]})") from None
    if absent := sorted(set(SPECIAL_TOKENS) - set(tokenizer.get_vocab())):
        raise UserError(f"{directory}: its tokenizer lacks {', '.join(absent)}: not InternVL's")
    if len(tokenizer) > vocabulary:
        raise UserError(
            f"{directory}: its tokenizer has {len(tokenizer)} tokens, its language model only {vocabulary}: "
            "they are not of the same model"
        )
    return tokenizer


def _settle_tying(config: InternVLConfig, weights: dict[str, Tensor]) -> None:
    """Lets the weights say whether lm_head is tied to the embeddings.

    Config files leave it out or say it in one of three places, and transformers' default of True would silently
    drop an lm_head that is there.
    """
    head, embedding = weights.get(_LM_HEAD), weights.get(_EMBEDDING)
    tied = head is None or (embedding is not None and torch.equal(head, embedding))
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = tied
    if tied:
        weights.pop(_LM_HEAD, None)


def _settle_image_size(config: InternVLConfig, weights: dict[str, Tensor], image_size: int) -> None:
    """Interpolates the position embeddings once, as transformers would at every forward."""
    vision = config.vision_config
    patch = vision.patch_size[0]
    config.image_seq_length = image_tokens(image_size, patch, config.downsample_ratio)
    positions = weights.get(_POSITIONS)
    if vision.image_size[0] == image_size or positions is None:
        return
    side, new_side = vision.image_size[0] // patch, image_size // patch
    grid = positions[:, 1:].float().view(1, side, side, -1).permute(0, 3, 1, 2)
    grid = functional.interpolate(grid, size=(new_side, new_side), mode="bicubic", align_corners=False)
    resized = grid.permute(0, 2, 3, 1).flatten(1, 2).to(positions.dtype)
    weights[_POSITIONS] = torch.cat([positions[:, :1], resized], dim=1)
    vision.image_size = (image_size, image_size)


def _pixel_statistics(directory: Path) -> dict[str, Any]:
    for file in ("preprocessor_config.json", "processor_config.json"):
        if (directory / file).is_file():
            content = _read_json(directory / file)
            return dict(content.get("image_processor", content))
    return {}
