"""The head, the cross-attention, the components, and what a config may ask for."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from receipt_counter.config.schema import Architecture, Classifier, Config
from receipt_counter.errors import UserError
from receipt_counter.model import COMPONENTS, build_model
from receipt_counter.model.conv_stem import ConvStem
from receipt_counter.model.count_head import CountHead
from tests.model.conftest import COUNTS, QUESTIONS, TEXTS, Build, tiny_config


def head(norm: str, activation: str = "gelu", hidden: tuple[int, ...] = (8, 4)) -> CountHead:
    torch.manual_seed(0)
    return CountHead(6, hidden=hidden, dropout=(0.1,) * len(hidden), norm=norm, activation=activation, classes=3)


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("images", [1, 2, 5])
def test_the_head_trains_on_any_batch(norm: str, images: int) -> None:
    made = head(norm).train()
    made(torch.randn(images, 9, 6)).square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in made.parameters())


def test_one_image_leaves_the_running_statistics_alone() -> None:
    made = head("batch").train()
    made(torch.randn(4, 9, 6))
    before = {name: buffer.clone() for name, buffer in made.named_buffers()}
    made(torch.randn(1, 9, 6))
    assert all(torch.equal(buffer, before[name]) for name, buffer in made.named_buffers())
    made(torch.randn(4, 9, 6))
    assert not all(torch.equal(buffer, before[name]) for name, buffer in made.named_buffers())


def test_every_choice_of_the_head_changes_it() -> None:
    patches = torch.randn(3, 9, 6, generator=torch.Generator().manual_seed(0))
    made = [head(norm).train() for norm in ("batch", "layer", "none")]
    made += [head("none", activation) for activation in ("relu", "silu")] + [head("none", hidden=())]
    outputs = [one.eval()(patches) for one in made]
    # In evaluation mode a batch norm without history is the identity, like no norm at all.
    distinct = outputs[1:]
    for index, one in enumerate(distinct):
        assert all(not torch.allclose(one, other) for other in distinct[:index])
    assert not torch.allclose(made[0].train()(patches), made[2](patches))


@pytest.mark.parametrize("patch", [8, 16, 32])
def test_the_stem_gives_one_vector_a_patch(patch: int) -> None:
    stem = ConvStem(3, 24, patch)
    assert stem(torch.zeros(2, 3, 64, 64)).shape == (2, (64 // patch) ** 2, 24)


def test_components_hold_every_parameter_once(build: Build) -> None:
    for heads in (0, 4):
        model, _ = build(heads=heads)
        parts = model.component_parameters()
        assert tuple(parts) == COMPONENTS
        listed = [name for named in parts.values() for name, _ in named]
        assert sorted(listed) == sorted(name for name, _ in model.named_parameters())
        assert {part: bool(named) for part, named in parts.items()} == {
            part: part != "cross_attention" or heads > 0 for part in COMPONENTS
        }
    assert all("patch_embeddings" not in name for name in listed if name.startswith("internvl.model.language"))
    stem = model.internvl.model.vision_tower.embeddings.patch_embeddings
    in_vision = {id(parameter) for _, parameter in parts["vision"]}
    assert all(id(parameter) in in_vision for parameter in stem.parameters())


def test_vision_layers_are_in_order_and_without_the_stem(build: Build, pixels: Tensor) -> None:
    model, processor = build()
    layers = model.vision_layers()
    assert len(layers) == 2
    called: list[int] = []
    for index, layer in enumerate(layers):
        layer.register_forward_hook(lambda *_args, number=index: called.append(number))
    model.encode_images(processor.normalise(pixels))
    assert called == [0, 1]
    owned = {id(parameter) for layer in layers for parameter in layer.parameters()}
    outside = [name for name, parameter in model.component_parameters()["vision"] if id(parameter) not in owned]
    assert outside
    assert all(".embeddings." in name for name in outside)


def test_weights_come_from_the_seed() -> None:
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(build_model(tiny_config(), TEXTS)[0])
    first, same, other = (model.state_dict() for model in models)
    assert all(torch.equal(first[name], same[name]) for name in first)
    drawn = [name for name in first if not torch.equal(first[name], other[name])]
    for part in ("patch_embeddings", "encoder.layer.0", "projector", "language_model", "head", "cross_attention"):
        assert any(part in name for name in drawn), part


def with_model(**changes: Any) -> Config:
    config = tiny_config()
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **changes))


IMPOSSIBLE = {
    "heads": (tiny_config(heads=5), "model.cross_attention.num_heads is 5.*32: nearest 4 or 8"),
    "more heads than channels": (tiny_config(heads=48), "model.cross_attention.num_heads is 48.*nearest 32"),
    "image size": (tiny_config(image_size=100), "data.image_size is 100.*multiple of 32.*nearest 96 or 128"),
    "language heads": (
        with_model(architecture=Architecture(language_width=64, language_heads=7)),
        "model.architecture.language_width is 64.*multiple of 14.*nearest 56 or 70",
    ),
    "heads of an odd size": (
        with_model(architecture=Architecture(language_width=36, language_heads=4)),
        "model.architecture.language_width is 36.*multiple of 8.*nearest 32 or 40",
    ),
    "dropouts": (
        with_model(classifier=Classifier(hidden=(8,), dropout=(0.1, 0.2))),
        re.escape("model.classifier.dropout has 2 values, but model.classifier.hidden 1"),
    ),
}


@pytest.mark.parametrize(("config", "message"), IMPOSSIBLE.values(), ids=list(IMPOSSIBLE))
def test_what_does_not_fit_is_a_message(config: Config, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_model(config, TEXTS)


def test_the_model_learns_a_batch_by_heart(build: Build, pixels: Tensor) -> None:
    torch.manual_seed(0)
    model, processor = build()
    batch = processor.pack(pixels, COUNTS, QUESTIONS)
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=3e-3)
    for _ in range(60):
        losses = model(batch)
        (losses.cls_loss + losses.lm_loss).backward()
        optimizer.step()
        optimizer.zero_grad()
    probabilities, answers = model.eval().answer(
        batch.pixel_values, [[question for question, _ in row] for row in QUESTIONS], processor, 30
    )
    assert probabilities.argmax(-1).tolist() == COUNTS
    assert answers == [[answer for _, answer in row] for row in QUESTIONS]
