"""A saved model is the same model, for this package and for transformers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModel

from receipt_counter.errors import UserError
from receipt_counter.model import ReceiptCounter, load_model
from tests.model.conftest import COUNTS, QUESTIONS, Build


def run_once(model: ReceiptCounter, processor: object, pixels: Tensor) -> list[Tensor]:
    batch = processor.pack(pixels, COUNTS, QUESTIONS)
    with torch.no_grad():
        losses = model(batch.to("cpu", model.dtype))
    return [losses.token_nll, losses.count_logits, losses.cls_loss, losses.lm_loss]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("heads", [0, 4], ids=["no cross-attention", "cross-attention"])
def test_reloaded_outputs_are_equal(
    build: Build, pixels: Tensor, tmp_path: Path, dtype: torch.dtype, heads: int
) -> None:
    model, processor = build(heads=heads)
    model.train()(processor.pack(pixels, COUNTS, QUESTIONS))  # moves the batch norm's running statistics
    model = model.eval().to(dtype)
    expected = run_once(model, processor, pixels)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)

    again, its_processor = load_model(tmp_path)
    assert again.dtype == dtype
    assert not again.training
    for loaded in (again, AutoModel.from_pretrained(tmp_path).eval()):
        results = run_once(loaded, its_processor, pixels)
        assert all(torch.equal(one, other) for one, other in zip(results, expected, strict=True))
    assert again.internvl.lm_head.weight is again.internvl.get_input_embeddings().weight
    assert {name: tensor.dtype for name, tensor in again.state_dict().items()} == {
        name: tensor.dtype for name, tensor in model.state_dict().items()
    }


def test_the_processor_travels_with_the_model(build: Build, pixels: Tensor, tmp_path: Path) -> None:
    model, processor = build(max_text_length=40)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    _, again = load_model(tmp_path)
    for name in ("prefix", "image_start", "image_tokens", "image_size", "max_text_length", "image_mean", "image_std"):
        assert getattr(again, name) == getattr(processor, name), name
    assert again.prompts(["<|im_end|> 12 €?"]) == processor.prompts(["<|im_end|> 12 €?"])
    assert again.decode([[300, 301, 302]]) == processor.decode([[300, 301, 302]])
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert saved["image_mean"] == list(processor.image_mean)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / "receipt_processor.json").unlink(),
        lambda path: (path / "model.safetensors").unlink(),
        lambda path: (path / "model.safetensors").write_bytes(b"{}"),
        lambda path: (path / "config.json").write_text("{"),
        lambda path: (path / "tokenizer.json").write_text("{"),
    ],
    ids=["no processor", "no weights", "damaged weights", "damaged config", "damaged tokenizer"],
)
def test_a_damaged_model_is_a_message(build: Build, tmp_path: Path, damage: object) -> None:
    model, processor = build()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(UserError, match=str(tmp_path)):
        load_model(tmp_path)
