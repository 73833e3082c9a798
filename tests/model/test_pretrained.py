"""Pretrained weights in both layouts give the model they were written from, or a message."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import InternVLForConditionalGeneration

from receipt_counter.errors import UserError
from receipt_counter.model import ReceiptCounter, ReceiptProcessor, build_model
from tests.model import layouts
from tests.model.conftest import tiny_config

LAYOUTS = {"native": layouts.write_native, "original": layouts.write_original}
PAIR = [[("Count them.", "There are 2 receipts in this photo.")]]


def load(directory: Path, **data: Any) -> tuple[ReceiptCounter, ReceiptProcessor]:
    config = tiny_config(checkpoint=str(directory), **{"image_size": layouts.SIZE, **data})
    model, processor = build_model(config, ["texts are not looked at"])
    return model.eval(), processor


def logits(model: InternVLForConditionalGeneration, processor: ReceiptProcessor, size: int) -> Tensor:
    """Scores of every token of one question about one image."""
    (prompt,) = processor.prompts(["How many receipts do you see?"])
    pixels = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model(input_ids=torch.tensor([processor.prefix + prompt]), pixel_values=pixels).logits


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shards", [1, 3], ids=["one file", "three shards"])
def test_both_layouts_load_the_same_model(tmp_path: Path, layout: str, shards: int, tied: bool) -> None:
    source = layouts.pretrained(tied=tied)
    model, processor = load(LAYOUTS[layout](source, tmp_path / "checkpoint", shards))
    assert processor.image_token_id == source.config.image_token_id
    expected = logits(source, processor, layouts.SIZE)
    assert expected.std() > 0.1
    torch.testing.assert_close(logits(model.internvl, processor, layouts.SIZE), expected, rtol=0, atol=0)
    tensors = {name.removeprefix("internvl."): tensor for name, tensor in model.state_dict().items()}
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensors[name], tensor), name
    assert (model.internvl.lm_head.weight is model.internvl.get_input_embeddings().weight) is tied
    assert (processor.image_mean, processor.image_std) == (tuple(layouts.MEAN), tuple(layouts.STD))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_query_and_key_norms_of_the_largest_towers(tmp_path: Path, layout: str) -> None:
    source = layouts.pretrained(tied=False, qk_norm=True)
    model, processor = load(LAYOUTS[layout](source, tmp_path / "checkpoint"))
    expected = logits(source, processor, layouts.SIZE)
    torch.testing.assert_close(logits(model.internvl, processor, layouts.SIZE), expected, rtol=0, atol=0)


def test_step_zero_is_the_pretrained_model(tmp_path: Path) -> None:
    """Cross-attention is there, but its gate is shut: the loss is that of transformers' model to the last bit."""
    directory = layouts.write_native(layouts.pretrained(tied=True), tmp_path / "checkpoint")
    model, processor = load(directory)
    pixels = torch.zeros(1, layouts.SIZE, layouts.SIZE, 3, dtype=torch.uint8)
    batch = processor.pack(pixels, [0], PAIR)
    with torch.no_grad():
        loss = model(batch).lm_loss
        model.cross_attention = None
        assert torch.equal(model(batch).lm_loss, loss)


def test_new_parts_are_seeded_and_trainable(tmp_path: Path) -> None:
    directory = layouts.write_original(layouts.pretrained(tied=True), tmp_path / "checkpoint")
    heads = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        model, processor = load(directory)
        heads.append(torch.cat([p.detach().flatten() for p in (*model.head.parameters(),)]))
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert model.cross_attention.gate.item() == 0
    pixels = torch.zeros(2, layouts.SIZE, layouts.SIZE, 3, dtype=torch.uint8)
    losses = model.train()(processor.pack(pixels, [0, 1], PAIR * 2))
    (losses.cls_loss + losses.lm_loss).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize("size", [28, 84, 112])
def test_another_image_size_interpolates_as_transformers_does(tmp_path: Path, size: int) -> None:
    source = layouts.pretrained(tied=True)
    model, processor = load(layouts.write_native(source, tmp_path / "checkpoint"), image_size=size)
    assert processor.image_tokens == (size // 28) ** 2
    torch.testing.assert_close(logits(model.internvl, processor, size), logits(source, processor, size))
    model.save_pretrained(tmp_path / "saved")
    processor.save_pretrained(tmp_path / "saved")
    again = ReceiptCounter.from_pretrained(tmp_path / "saved").eval()
    assert torch.equal(logits(again.internvl, processor, size), logits(model.internvl, processor, size))


def edit(file: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        content = json.loads((directory / file).read_text())
        change(content)
        layouts.write(directory / file, content)

    return apply


def edit_weights(change: Callable[[dict[str, Tensor]], None]) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        weights = load_file(directory / "model.safetensors")
        change(weights)
        save_file(weights, directory / "model.safetensors")

    return apply


def only_a_pickle(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")


def cut_in_half(directory: Path) -> None:
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


_MORE_TOKENS = {
    str(1000 + number): {"content": f"<more{number}>", "special": True, "normalized": False} for number in range(9)
}
BROKEN: dict[str, tuple[str, Callable[[Path], None], list[str]]] = {
    "a pickle": ("native", only_a_pickle, ["pytorch_model.bin", "pickle", "safetensors"]),
    "half a file": ("native", cut_in_half, ["model.safetensors", "damaged"]),
    "no config": ("native", lambda path: (path / "config.json").unlink(), ["config.json", "model.checkpoint"]),
    "config of a cut file": ("native", lambda path: (path / "config.json").write_text('{"a"'), ["not valid JSON"]),
    "another model": ("native", edit("config.json", lambda c: c.update(model_type="llava")), ["'llava'", "internvl"]),
    "another language model": (
        "native",
        edit("config.json", lambda c: c.update(text_config={"model_type": "llama"})),
        ["'llama'", "qwen2"],
    ),
    "a config of nonsense": (
        "native",
        edit("config.json", lambda c: c["vision_config"].update(hidden_size="wide")),
        ["config.json", "hidden_size"],
    ),
    "another feature layer": (
        "native",
        edit("config.json", lambda c: c.update(vision_feature_layer=-2)),
        ["vision_feature_layer", "-2"],
    ),
    "InternLM2": (
        "original",
        edit("config.json", lambda c: c["llm_config"].update(architectures=["InternLM2ForCausalLM"])),
        ["InternLM2ForCausalLM", "Qwen2ForCausalLM"],
    ),
    "first pixel shuffle": (
        "original",
        edit("config.json", lambda c: c.update(ps_version="v1")),
        ["ps_version", "'v1'", "'v2'"],
    ),
    "an inner layer": ("original", edit("config.json", lambda c: c.update(select_layer=-4)), ["select_layer", "-4"]),
    "no vision config": ("original", edit("config.json", lambda c: c.pop("vision_config")), ["vision_config missing"]),
    "a missing weight": (
        "native",
        edit_weights(lambda w: w.pop("vision_tower.encoder.layer.1.lambda_2")),
        ["missing", "vision_tower.encoder.layer.1.lambda_2"],
    ),
    "a missing original weight": (
        "original",
        edit_weights(lambda w: w.pop("vision_model.encoder.layers.1.attn.qkv.bias")),
        ["missing", "vision_tower.encoder.layer.1.attention.q_proj.bias"],
    ),
    "an unknown weight": (
        "original",
        edit_weights(lambda w: w.update({"mlp1.7.weight": torch.zeros(1)})),
        ["unknown", "mlp1.7.weight"],
    ),
    "a weight of another shape": (
        "native",
        edit_weights(lambda w: w.update({"multi_modal_projector.linear_1.bias": torch.zeros(5)})),
        ["multi_modal_projector.linear_1.bias"],
    ),
    "another model's tokenizer": (
        "native",
        edit("tokenizer_config.json", lambda c: c["added_tokens_decoder"].update(_MORE_TOKENS)),
        ["tokenizer has", "tokens"],
    ),
    "no image token": (
        "native",
        lambda path: [
            (path / name).write_text((path / name).read_text().replace("<IMG_CONTEXT>", "<other>"))
            for name in ("tokenizer_config.json", "added_tokens.json")
        ],
        ["lacks", "<IMG_CONTEXT>"],
    ),
    "no tokenizer": (
        "native",
        lambda path: [(path / name).unlink() for name in ("vocab.json", "merges.txt", "tokenizer_config.json")],
        ["tokenizer"],
    ),
}


@pytest.mark.parametrize(("layout", "damage", "words"), BROKEN.values(), ids=list(BROKEN))
def test_an_unusable_checkpoint_is_a_message(
    tmp_path: Path, layout: str, damage: Callable[[Path], None], words: list[str]
) -> None:
    directory = LAYOUTS[layout](layouts.pretrained(tied=True), tmp_path / "checkpoint")
    damage(directory)
    with pytest.raises(UserError) as caught:
        load(directory)
    for word in [*words, str(directory)]:
        assert word in caught.value.message


@pytest.mark.parametrize(("size", "nearest"), [(60, "56 or 84"), (16, "28")])
def test_an_impossible_image_size_names_the_nearest(tmp_path: Path, size: int, nearest: str) -> None:
    directory = layouts.write_native(layouts.pretrained(tied=True), tmp_path / "checkpoint")
    with pytest.raises(UserError, match=f"data.image_size is {size}.*nearest {nearest}"):
        load(directory, image_size=size)


def test_a_hub_name_is_found_in_the_local_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = layouts.pretrained(tied=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--OpenGVLab--InternVL3-1B-hf"
    layouts.write_native(source, repository / "snapshots" / "0123")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123")
    model, _ = build_model(tiny_config(checkpoint="OpenGVLab/InternVL3-1B-hf", image_size=layouts.SIZE), [])
    assert torch.equal(model.internvl.get_input_embeddings().weight, source.get_input_embeddings().weight)


@pytest.mark.parametrize("name", ["no/such/place/anywhere", "OpenGVLab/Nothing", "/not/there"])
def test_an_absent_checkpoint_is_a_message(name: str) -> None:
    with pytest.raises(UserError, match=f"model.checkpoint is {name}"):
        build_model(tiny_config(checkpoint=name), [])
