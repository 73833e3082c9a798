"""Packing changes the cost, not the mathematics."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from receipt_counter.model import ReceiptCounter, ReceiptProcessor
from receipt_counter.model.packing import IGNORED
from tests.model.conftest import COUNTS, QUESTIONS, Build


def one_by_one(model: ReceiptCounter, processor: ReceiptProcessor, pixel_values: Tensor) -> list[tuple[int, Tensor]]:
    """(image, negative log-likelihood of each answer token) of every question, by transformers' own forward.

    One question a sequence, the image encoded anew for each, neither mask nor positions given.
    """
    results = []
    for image, row in enumerate(QUESTIONS):
        for question, answer in row:
            (prompt,) = processor.prompts([question])
            target = [*processor.tokenizer(answer, add_special_tokens=False)["input_ids"], processor.end]
            ids = torch.tensor([processor.prefix + prompt + target])
            inner = model.internvl.model(input_ids=ids, pixel_values=pixel_values[image : image + 1])
            states = inner.last_hidden_state[:, -len(target) - 1 : -1]
            if model.cross_attention is not None:
                states = model.cross_attention(states, *model.cross_attention.keys_values(inner.image_hidden_states))
            logits = model.internvl.lm_head(states[0])
            results.append((image, functional.cross_entropy(logits, torch.tensor(target), reduction="none")))
    return results


@pytest.mark.parametrize("heads", [0, 4], ids=["no cross-attention", "cross-attention"])
def test_losses_and_gradients_equal_separate_sequences(build: Build, pixels: Tensor, heads: int) -> None:
    model, processor = build(heads=heads)
    model = model.double()
    batch = processor.pack(pixels, COUNTS, QUESTIONS).to("cpu", torch.float64)

    losses = model(batch)
    (losses.cls_loss + losses.lm_loss).backward()
    packed = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad(set_to_none=True)

    separate = one_by_one(model, processor, batch.pixel_values)
    lm_loss = torch.cat([nll for _, nll in separate]).mean()
    patches = model.internvl.model.vision_tower(batch.pixel_values).last_hidden_state[:, 1:]
    cls_loss = functional.cross_entropy(model.head(patches), torch.tensor(COUNTS))
    (cls_loss + lm_loss).backward()

    # Losses are float32 sums even where the model is float64.
    torch.testing.assert_close(losses.lm_loss.double(), lm_loss, rtol=1e-6, atol=0)
    torch.testing.assert_close(losses.cls_loss.double(), cls_loss, rtol=1e-6, atol=0)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            packed[name], parameter.grad, rtol=1e-5, atol=1e-7, msg=lambda m, n=name: f"{n}: {m}"
        )
    for image in range(len(QUESTIONS)):
        expected = [nll for owner, nll in separate if owner == image]
        assert int(losses.tokens[image]) == sum(map(len, expected))
        total = sum((float(nll.sum().detach()) for nll in expected), 0.0)
        assert float(losses.token_nll[image]) == pytest.approx(total, rel=1e-6)
    assert losses.answer_tokens == int(losses.tokens.sum())


WORDS = st.text(st.sampled_from("receipts 012?<|im_end|><IMG_CONTEXT>é"), max_size=30)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(others=st.lists(st.tuples(WORDS, WORDS), max_size=3), place=st.integers(0, 3))
def test_a_question_does_not_see_its_neighbours(
    build: Build, pixels: Tensor, others: list[tuple[str, str]], place: int
) -> None:
    model, processor = build()
    mine = ("How many receipts do you see?", "There are 2 receipts in this photo.")
    place = min(place, len(others))

    def my_tokens(row: list[tuple[str, str]], index: int) -> Tensor:
        """What my answer tokens cost when my question is the `index`-th of an image's."""
        packed = processor.pack(pixels[:1], [0], [row])
        mine_only = processor.pack(pixels[:1], [0], [row[: index + 1]])
        before = processor.pack(pixels[:1], [0], [row[:index]])
        hidden = packed.labels.clone()
        hidden[:, : before.labels.shape[1]] = IGNORED
        hidden[:, mine_only.labels.shape[1] :] = IGNORED
        with torch.no_grad():
            return model(dataclasses.replace(packed, labels=hidden)).token_nll

    alone = my_tokens([mine], 0)
    crowded = my_tokens([*others[:place], mine, *others[place:]], place)
    torch.testing.assert_close(crowded, alone, rtol=1e-5, atol=1e-5)


def test_image_and_own_words_matter(build: Build, pixels: Tensor) -> None:
    """The counterpart of isolation: a mask that hid everything would pass that test."""
    model, processor = build()
    batch = processor.pack(pixels[:1], [0], [QUESTIONS[0]])
    with torch.no_grad():
        loss = model(batch).lm_loss
        other_image = model(dataclasses.replace(batch, pixel_values=processor.normalise(pixels[1:2]))).lm_loss
        other_words = model(
            processor.pack(pixels[:1], [0], [[("Count:", QUESTIONS[0][0][1]), *QUESTIONS[0][1:]]])
        ).lm_loss
    assert abs(float(loss - other_image)) > 1e-4
    assert abs(float(loss - other_words)) > 1e-4


def test_padding_gives_no_nan_and_no_difference(build: Build, pixels: Tensor) -> None:
    model, processor = build()
    with torch.no_grad():
        together = model(processor.pack(pixels, COUNTS, QUESTIONS))
        alone = model(processor.pack(pixels[1:2], COUNTS[1:2], QUESTIONS[1:2]))
    assert torch.isfinite(together.token_nll).all()
    torch.testing.assert_close(together.token_nll[1:2], alone.token_nll, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(together.count_logits[1:2], alone.count_logits, rtol=1e-5, atol=1e-5)


def test_a_batch_without_questions_still_counts(build: Build, pixels: Tensor) -> None:
    model, processor = build()
    losses = model(processor.pack(pixels[:2], [0, 1], [[], []]))
    (losses.cls_loss + losses.lm_loss).backward()
    assert losses.lm_loss.item() == 0
    assert losses.answer_tokens == 0
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_zero_gate_is_the_model_without_cross_attention(build: Build, pixels: Tensor) -> None:
    model, processor = build()
    batch = processor.pack(pixels, COUNTS, QUESTIONS)
    with torch.no_grad():
        opened = model(batch).token_nll
        model.cross_attention.gate.zero_()
        closed = model(batch).token_nll
        model.cross_attention = None
        without = model(batch).token_nll
    assert torch.equal(closed, without)
    assert not torch.equal(opened, without)


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "training"])
def test_a_frozen_vision_tower_is_not_differentiated(build: Build, pixels: Tensor, frozen: bool) -> None:
    model, processor = build()
    for name, parameter in model.component_parameters()["vision"]:
        assert name.startswith("internvl.model.vision_tower.")
        parameter.requires_grad_(not frozen)
    patches, features = model.encode_images(processor.normalise(pixels))
    assert patches.requires_grad is not frozen
    assert features.requires_grad
    losses = model(processor.pack(pixels, COUNTS, QUESTIONS))
    (losses.cls_loss + losses.lm_loss).backward()
    trained = {part for part, named in model.component_parameters().items() if named[0][1].grad is not None}
    assert trained == {"projector", "language", "cross_attention", "head"} | (set() if frozen else {"vision"})


def test_the_vision_tower_runs_once_an_image(build: Build, pixels: Tensor) -> None:
    model, processor = build()
    seen = []
    model.vision_layers()[0].register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    model(processor.pack(pixels, COUNTS, QUESTIONS))
    assert seen == [len(pixels)]


def test_only_answer_positions_reach_the_vocabulary(build: Build, pixels: Tensor) -> None:
    model, processor = build()
    seen = []
    model.internvl.lm_head.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].shape[0]))
    losses = model(processor.pack(pixels, COUNTS, QUESTIONS))
    assert seen == [losses.answer_tokens]


def test_eager_attention_is_refused(build: Build, pixels: Tensor) -> None:
    """Under it the boolean mask would silently be added as 0 and 1."""
    model, processor = build()
    model.set_attn_implementation("eager")
    with pytest.raises(ValueError, match="eager"):
        model(processor.pack(pixels, COUNTS, QUESTIONS))
