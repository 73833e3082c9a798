"""Writes one tiny InternVL of random weights to disk in each layout that checkpoints come in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import InternVLConfig, InternVLForConditionalGeneration, InternVLVisionConfig, Qwen2Config

from tests.model.conftest import TEXTS

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>")
SIZE = 56
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
VISION = {
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "image_size": SIZE,
    "patch_size": 14,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
    "norm_type": "layer_norm",
}
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
}


def pretrained(*, tied: bool, qk_norm: bool = False) -> InternVLForConditionalGeneration:
    """The model both layouts are written from; no parameter keeps a value that a wrong loader could guess."""
    vocabulary = len(_learnt().get_vocab()) + len(SPECIAL)
    config = InternVLConfig(
        vision_config=InternVLVisionConfig(**VISION, attention_bias=True, use_qk_norm=qk_norm),
        text_config=Qwen2Config(**TEXT, vocab_size=vocabulary, tie_word_embeddings=tied),
        tie_word_embeddings=tied,
        image_token_id=vocabulary - len(SPECIAL) + SPECIAL.index("<IMG_CONTEXT>"),
        image_seq_length=4,
    )
    model = InternVLForConditionalGeneration(config).eval()
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model


def write_native(model: InternVLForConditionalGeneration, directory: Path, shards: int = 1) -> Path:
    """As InternVL3-1B-hf lies on the hub: names of before transformers 4.52, tying said in text_config alone."""
    directory.mkdir(parents=True)
    weights = {_hub_name(name): tensor for name, tensor in _weights(model).items()}
    _write_shards(weights, directory, shards)
    vision = {**VISION, "attention_bias": True, "use_qk_norm": model.config.vision_config.use_qk_norm}
    tied = model.config.text_config.tie_word_embeddings
    text = {**TEXT, "vocab_size": model.config.text_config.vocab_size, "tie_word_embeddings": tied}
    config = {
        "architectures": ["InternVLForConditionalGeneration"],
        "model_type": "internvl",
        "downsample_ratio": 0.5,
        "image_seq_length": 4,
        "projector_hidden_act": "gelu",
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "default",
        "vision_config": {
            "model_type": "internvl_vision",
            **vision,
            "image_size": [SIZE, SIZE],
            "patch_size": [14, 14],
        },
        "text_config": {"model_type": "qwen2", **text},
    }
    write(directory / "config.json", config)
    write(directory / "preprocessor_config.json", {"image_mean": MEAN, "image_std": STD})
    _write_tokenizer(directory)
    return directory


def write_original(model: InternVLForConditionalGeneration, directory: Path, shards: int = 1) -> Path:
    """As InternVL2_5-1B lies on the hub: `internvl_chat`, queries, keys and values in one matrix."""
    directory.mkdir(parents=True)
    source = _weights(model)
    weights: dict[str, Tensor] = {}
    for index in range(VISION["num_hidden_layers"]):
        theirs = f"vision_model.encoder.layers.{index}."
        ours = f"model.vision_tower.encoder.layer.{index}."
        for kind in ("weight", "bias"):
            parts = [source.pop(f"{ours}attention.{letter}_proj.{kind}") for letter in "qkv"]
            weights[f"{theirs}attn.qkv.{kind}"] = torch.cat(parts)
            weights[f"{theirs}attn.proj.{kind}"] = source.pop(f"{ours}attention.projection_layer.{kind}")
            weights[f"{theirs}norm1.{kind}"] = source.pop(f"{ours}layernorm_before.{kind}")
            weights[f"{theirs}norm2.{kind}"] = source.pop(f"{ours}layernorm_after.{kind}")
            for layer in ("fc1", "fc2"):
                weights[f"{theirs}mlp.{layer}.{kind}"] = source.pop(f"{ours}mlp.{layer}.{kind}")
        for number in (1, 2):
            weights[f"{theirs}ls{number}"] = source.pop(f"{ours}lambda_{number}")
        if model.config.vision_config.use_qk_norm:
            for letter in "qk":
                weights[f"{theirs}attn.{letter}_norm.weight"] = source.pop(f"{ours}attention.{letter}_norm.weight")
    embeddings = "model.vision_tower.embeddings."
    weights["vision_model.embeddings.class_embedding"] = source.pop(f"{embeddings}cls_token")
    weights["vision_model.embeddings.position_embedding"] = source.pop(f"{embeddings}position_embeddings")
    projector = "model.multi_modal_projector."
    for kind in ("weight", "bias"):
        patch = source.pop(f"{embeddings}patch_embeddings.projection.{kind}")
        weights[f"vision_model.embeddings.patch_embedding.{kind}"] = patch
        for number, layer in (("0", "layer_norm"), ("1", "linear_1"), ("3", "linear_2")):
            weights[f"mlp1.{number}.{kind}"] = source.pop(f"{projector}{layer}.{kind}")
    weights |= {_hub_name(name): tensor for name, tensor in source.items()}
    _write_shards(weights, directory, shards)
    write(directory / "config.json", original_config(model))
    _write_tokenizer(directory)
    write(directory / "preprocessor_config.json", {"image_mean": MEAN, "image_std": STD, "crop_size": SIZE})
    return directory


def original_config(model: InternVLForConditionalGeneration) -> dict[str, Any]:
    """The original's config.json, with the entries that would mislead a careless reader."""
    return {
        "architectures": ["InternVLChatModel"],
        "auto_map": {"AutoConfig": "configuration_internvl_chat.InternVLChatConfig"},
        "model_type": "internvl_chat",
        "downsample_ratio": 0.5,
        "force_image_size": SIZE,
        "pad2square": False,
        "ps_version": "v2",
        "select_layer": -1,
        "template": "internvl2_5",
        "llm_config": {
            "architectures": ["Qwen2ForCausalLM"],
            "attn_implementation": "flash_attention_2",
            "model_type": "qwen2",
            "rope_scaling": {"factor": 2.0, "rope_type": "dynamic", "type": "dynamic"},
            "rope_theta": 10000.0,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "use_cache": False,
            "vocab_size": model.config.text_config.vocab_size,
            **TEXT,
        },
        "vision_config": {
            "architectures": ["InternVisionModel"],
            "attention_dropout": 0.0,
            "drop_path_rate": 0.1,
            "dropout": 0.0,
            "initializer_range": 1e-10,
            "model_type": "intern_vit_6b",
            "num_channels": 3,
            "qk_normalization": model.config.vision_config.use_qk_norm,
            "qkv_bias": True,
            "use_flash_attn": True,
            **VISION,
        },
    }


def write(path: Path, content: Any) -> None:
    """Writes JSON."""
    path.write_text(json.dumps(content), encoding="utf-8")


def _weights(model: InternVLForConditionalGeneration) -> dict[str, Tensor]:
    weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del weights["lm_head.weight"]
    return weights


def _hub_name(name: str) -> str:
    if name.startswith("lm_head."):
        return f"language_model.{name}"
    name = name.removeprefix("model.")
    return name.replace("language_model.", "language_model.model.", 1) if name.startswith("language_model.") else name


def _write_shards(weights: dict[str, Tensor], directory: Path, shards: int) -> None:
    weights = {name: tensor.contiguous() for name, tensor in weights.items()}
    if shards == 1:
        save_file(weights, directory / "model.safetensors")
        return
    names = sorted(weights)
    files = {name: f"model-{index % shards + 1:05d}-of-{shards:05d}.safetensors" for index, name in enumerate(names)}
    for file in set(files.values()):
        save_file({name: weights[name] for name in names if files[name] == file}, directory / file)
    write(directory / "model.safetensors.index.json", {"metadata": {}, "weight_map": files})


def _learnt() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def _write_tokenizer(directory: Path) -> None:
    """Qwen2's files, as both hub layouts have them: vocab.json and merges.txt, special tokens added at the end."""
    learnt = json.loads(_learnt().to_str())["model"]
    write(directory / "vocab.json", learnt["vocab"])
    merges = ["#version: 0.2", *(" ".join(pair) for pair in learnt["merges"])]
    (directory / "merges.txt").write_text("\n".join(merges) + "\n", encoding="utf-8")
    added = {len(learnt["vocab"]) + index: token for index, token in enumerate(SPECIAL)}
    write(directory / "added_tokens.json", {token: number for number, token in added.items()})
    plain = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    config = {
        "add_bos_token": False,
        "added_tokens_decoder": {str(number): {"content": token, **plain} for number, token in added.items()},
        "additional_special_tokens": list(SPECIAL[1:]),
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "model_max_length": 8192,
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    write(directory / "tokenizer_config.json", config)
