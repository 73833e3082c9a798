"""Receipts add up, and write amounts as their country does."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_counter.data.render.facts import Receipt, draw_currency, draw_receipt, draw_stores
from receipt_counter.data.render.vocabulary import CURRENCIES, GOODS

SEEDS = st.integers(0, 2**32 - 1)


def some_receipt(seed: int) -> Receipt:
    rng = np.random.default_rng(seed)
    ((kind, store),) = draw_stores(rng, 1)
    return draw_receipt(rng, kind, store, draw_currency(rng), 9)


@given(SEEDS)
def test_total_is_what_the_items_tax_and_tip_come_to(seed: int) -> None:
    receipt = some_receipt(seed)
    goods = sum(item.quantity * item.price for item in receipt.items)
    rate = Fraction(receipt.rate, 1000)
    exact = goods * rate / (1 + rate) if receipt.currency.included else goods * rate
    assert abs(receipt.tax - exact) <= Fraction(1, 2)
    assert receipt.total == goods + receipt.tip + (0 if receipt.currency.included else receipt.tax)
    assert all(item.price > 0 and item.quantity > 0 for item in receipt.items)


@given(SEEDS)
def test_only_cash_brings_change(seed: int) -> None:
    receipt = some_receipt(seed)
    assert receipt.change >= 0
    assert receipt.payment == "cash" or receipt.change == 0


@given(SEEDS)
def test_items_are_goods_of_the_shop_and_each_stands_once(seed: int) -> None:
    receipt = some_receipt(seed)
    names = [item.name for item in receipt.items]
    assert len(set(names)) == len(names)
    assert set(names) <= {name for name, _ in GOODS[receipt.kind][1]}


@given(SEEDS)
def test_stores_of_one_picture_cannot_be_confused(seed: int) -> None:
    stores = draw_stores(np.random.default_rng(seed), 5)
    names = [name for _, name in stores]
    assert not any(a != b and a in b for a in names for b in names)
    assert len(set(names)) == 5


@pytest.mark.parametrize(
    ("code", "amount", "written"),
    [
        ("USD", 123456, "$1,234.56"),
        ("EUR", 123456, "1.234,56 €"),
        ("GBP", 5, "£0.05"),
        ("MYR", 68005, "RM 680.05"),
        ("CHF", 1234505, "CHF 12'345.05"),
        ("JPY", 1968, "¥1,968"),
        ("PLN", 100, "1,00 zł"),
    ],
)
def test_amounts_are_written_as_the_currency_is(code: str, amount: int, written: str) -> None:
    (currency,) = (currency for currency in CURRENCIES if currency.code == code)
    assert currency.write(amount) == written
