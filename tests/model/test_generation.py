"""Batched answers from the cache are those of one question at a time without it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from receipt_counter.model import ReceiptCounter, ReceiptProcessor
from tests.model.conftest import Build

ASKED = [
    ["How many receipts do you see?", "Count them.", "Is there any receipt here? " * 5],
    [],
    ["Count them."],
    ["?", "How many receipts do you see?"],
]


def naive(
    model: ReceiptCounter, processor: ReceiptProcessor, pixel_values: Tensor, question: str, max_new_tokens: int
) -> str:
    """Greedy decoding that reads image, prompt and answer anew for every token."""
    (prompt,) = processor.prompts([question])
    ids = processor.prefix + prompt
    answer: list[int] = []
    for _ in range(max_new_tokens):
        inner = model.internvl.model(input_ids=torch.tensor([ids + answer]), pixel_values=pixel_values[None])
        states = inner.last_hidden_state[:, -1:]
        if model.cross_attention is not None:
            states = model.cross_attention(states, *model.cross_attention.keys_values(inner.image_hidden_states))
        token = int(model.internvl.lm_head(states[0, -1]).argmax())
        if token in processor.end_tokens:
            break
        answer.append(token)
    return processor.decode([answer])[0]


def talkative(model: ReceiptCounter, end: int, bias: float) -> None:
    """Gives random weights answers of many lengths: logits that vary, an end token neither rare nor constant."""
    with torch.no_grad():
        for parameter in model.internvl.model.language_model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6)
        head = torch.nn.Linear(model.internvl.lm_head.in_features, model.internvl.lm_head.out_features)
        head.weight.copy_(torch.randn(head.weight.shape, generator=torch.Generator().manual_seed(5)))
        head.bias.zero_()
        head.bias[end] = bias
        model.internvl.lm_head = head


@pytest.mark.parametrize("heads", [0, 4], ids=["no cross-attention", "cross-attention"])
def test_answers_equal_naive_decoding(build: Build, pixels: Tensor, heads: int) -> None:
    model, processor = build(heads=heads)
    talkative(model, processor.end, bias=9.0)
    pixel_values = processor.normalise(pixels)
    probabilities, answers = model.answer(pixel_values, ASKED, processor, 12)
    with torch.no_grad():
        expected = [
            [naive(model, processor, pixel_values[image], question, 12) for question in row]
            for image, row in enumerate(ASKED)
        ]
    assert answers == expected
    lengths = {len(processor.tokenizer(text)["input_ids"]) for row in answers for text in row}
    assert len(lengths) > 1, "the test's weights should give answers of different lengths"
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(4))


def test_generation_stops_when_all_have_ended(build: Build, pixels: Tensor) -> None:
    model, processor = build()
    talkative(model, processor.end, bias=1e4)
    steps = []
    model.internvl.lm_head.register_forward_hook(lambda *_: steps.append(1))
    _, answers = model.answer(processor.normalise(pixels), ASKED, processor, 50)
    assert answers == [["", "", ""], [], [""], ["", ""]]
    assert len(steps) == 1


def test_an_ended_answer_leaves_the_batch(build: Build, pixels: Tensor) -> None:
    model, processor = build()
    talkative(model, processor.end, bias=9.0)
    rows: list[int] = []
    model.internvl.lm_head.register_forward_hook(lambda _module, inputs, _output: rows.append(len(inputs[0])))
    model.answer(processor.normalise(pixels), ASKED, processor, 12)
    assert rows[0] == 6
    assert rows[-1] < 6
    assert rows == sorted(rows, reverse=True)


def test_max_new_tokens_cuts(build: Build, pixels: Tensor) -> None:
    model, processor = build()
    talkative(model, processor.end, bias=-1e4)
    steps = []
    model.internvl.lm_head.register_forward_hook(lambda *_: steps.append(1))
    model.answer(processor.normalise(pixels), ASKED, processor, 3)
    assert len(steps) == 3


def test_images_are_encoded_once_and_counted_without_questions(build: Build, pixels: Tensor) -> None:
    model, processor = build()
    seen = []
    model.vision_layers()[0].register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    pixel_values = processor.normalise(pixels)
    with_questions, _ = model.answer(pixel_values, ASKED, processor, 4)
    without, answers = model.answer(pixel_values, [[], [], [], []], processor, 4)
    assert seen == [4, 4]
    assert answers == [[], [], [], []]
    assert torch.equal(with_questions, without)


def test_bfloat16_answers(build: Build, pixels: Tensor) -> None:
    model, processor = build()
    model = model.to(torch.bfloat16)
    probabilities, answers = model.answer(processor.normalise(pixels).bfloat16(), ASKED, processor, 4)
    assert probabilities.dtype == torch.float32
    assert [len(row) for row in answers] == [3, 0, 1, 2]
    assert model.internvl.model.language_model.rotary_emb.inv_freq.dtype == torch.float32
