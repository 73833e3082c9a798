"""InternVL's first checkpoint layout (remote-code `internvl_chat`), read without its code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import AutoConfig, InternVLConfig, InternVLVisionConfig

from receipt_counter.errors import UserError

MODEL_TYPE = "internvl_chat"
LANGUAGE_MODELS = {"Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3"}

# The original's name of each vision option that transformers names differently.
_VISION_OPTIONS = {
    "dropout": "hidden_dropout_prob",
    "qk_normalization": "use_qk_norm",
    "qkv_bias": "attention_bias",
}
_SAME_VISION_OPTIONS = (
    "attention_dropout",
    "hidden_act",
    "hidden_size",
    "image_size",
    "intermediate_size",
    "layer_norm_eps",
    "norm_type",
    "num_attention_heads",
    "num_channels",
    "num_hidden_layers",
    "patch_size",
)
_TEXT_OPTIONS = (
    "attention_bias",
    "attention_dropout",
    "bos_token_id",
    "eos_token_id",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "max_window_layers",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "pad_token_id",
    "rms_norm_eps",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "use_sliding_window",
    "vocab_size",
)
_RENAMED = (
    (r"^vision_model\.embeddings\.class_embedding$", "vision_tower.embeddings.cls_token"),
    (r"^vision_model\.embeddings\.position_embedding$", "vision_tower.embeddings.position_embeddings"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "vision_tower.embeddings.patch_embeddings.projection."),
    (r"^vision_model\.encoder\.layers\.(\d+)\.ls([12])$", r"vision_tower.encoder.layer.\1.lambda_\2"),
    (r"^vision_model\.encoder\.layers\.(\d+)\.norm1\.", r"vision_tower.encoder.layer.\1.layernorm_before."),
    (r"^vision_model\.encoder\.layers\.(\d+)\.norm2\.", r"vision_tower.encoder.layer.\1.layernorm_after."),
    (r"^vision_model\.encoder\.layers\.(\d+)\.attn\.proj", r"vision_tower.encoder.layer.\1.attention.projection_layer"),
    (r"^vision_model\.encoder\.layers\.(\d+)\.attn\.", r"vision_tower.encoder.layer.\1.attention."),
    (r"^vision_model\.encoder\.layers\.(\d+)\.mlp\.", r"vision_tower.encoder.layer.\1.mlp."),
    (r"^mlp1\.0\.", "multi_modal_projector.layer_norm."),
    (r"^mlp1\.1\.", "multi_modal_projector.linear_1."),
    (r"^mlp1\.3\.", "multi_modal_projector.linear_2."),
)  # fmt: skip


def convert_config(original: dict[str, Any], directory: Path) -> InternVLConfig:
    """Describes the same model in transformers' words.

    Args:
        original: its config.json.
        directory: where it was read from, for messages.

    Raises:
        UserError: the checkpoint uses something transformers' InternVL does not have.
    """
    if absent := [part for part in ("llm_config", "vision_config") if not isinstance(original.get(part), dict)]:
        raise UserError(f"{directory}/config.json: {' and '.join(absent)} missing")
    language, vision = original["llm_config"], original["vision_config"]
    architecture = (language.get("architectures") or ["?"])[0]
    if architecture not in LANGUAGE_MODELS:
        raise UserError(
            f"{directory}/config.json: llm_config.architectures is {architecture}, "
            f"but only {' and '.join(LANGUAGE_MODELS)} can be loaded (InternVL2_5-1B, -4B; InternVL3-1B, -2B, -8B)"
        )
    for name, only, default in (("select_layer", -1, -1), ("ps_version", "v2", "v1"), ("pad2square", False, False)):
        if original.get(name, default) != only:
            raise UserError(f"{directory}/config.json: {name} is {original.get(name)!r}; only {only!r} can be loaded")
    options = {name: vision[name] for name in _SAME_VISION_OPTIONS if name in vision}
    options |= {ours: vision[theirs] for theirs, ours in _VISION_OPTIONS.items() if theirs in vision}
    text = {name: language[name] for name in _TEXT_OPTIONS if name in language}
    return InternVLConfig(
        vision_config=InternVLVisionConfig(**options),
        text_config=AutoConfig.for_model(LANGUAGE_MODELS[architecture], **text),
        downsample_ratio=original.get("downsample_ratio", 0.5),
    )


def convert_weights(original: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gives the weights the names of transformers' layout; names it does not know stay as they are."""
    converted: dict[str, Tensor] = {}
    for name, tensor in original.items():
        renamed = name
        for pattern, replacement in _RENAMED:
            renamed, changed = re.subn(pattern, replacement, name)
            if changed:
                break
        if ".attention.qkv." in renamed:
            parts = tensor.chunk(3)
            converted |= {
                renamed.replace(".qkv.", f".{letter}_proj."): part.contiguous()
                for letter, part in zip("qkv", parts, strict=True)
            }
        else:
            converted[renamed] = tensor
    return converted
