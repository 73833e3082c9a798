"""The learnt tokenizer writes anything back as it was, the same however the texts came."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receipt_counter.model.tokenizer import SPECIAL_TOKENS, learn_tokenizer
from tests.model.conftest import TEXTS

LEARNT = learn_tokenizer(TEXTS, 400)


def test_order_and_runs_do_not_matter() -> None:
    shuffled = TEXTS * 3
    random.Random(0).shuffle(shuffled)
    first, second = learn_tokenizer(TEXTS * 3, 400), learn_tokenizer(iter(shuffled), 400)
    assert first.backend_tokenizer.to_str() == second.backend_tokenizer.to_str()


@settings(max_examples=50, deadline=None, derandomize=True)
@given(text=st.text(max_size=40))
def test_any_text_survives(text: str) -> None:
    tokenizer = LEARNT
    ids = tokenizer(text, split_special_tokens=True)["input_ids"]
    assert tokenizer.decode(ids) == text


def test_roles_and_frequent_words_are_single_tokens() -> None:
    tokenizer = LEARNT
    for text in (" receipts", "assistant", "user", *SPECIAL_TOKENS):
        assert len(tokenizer(text, add_special_tokens=False)["input_ids"]) == 1, text


@pytest.mark.parametrize("vocabulary", [300, 320, 2000])
def test_the_vocabulary_is_bounded(vocabulary: int) -> None:
    assert len(learn_tokenizer(TEXTS, vocabulary)) <= vocabulary
