"""What a receipt says, drawn at random and consistent in itself: the picture and the answers both come from it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from receipt_counter.data.render.vocabulary import (
    CITIES,
    CLERKS,
    CURRENCIES,
    DATE_FORMATS,
    GOODS,
    NAMES,
    PAYMENTS,
    STREETS,
    Currency,
)

_FIRST_DAY = datetime.datetime(2018, 1, 1)
_DAYS = 3000
_NOTES = (500, 1000, 2000, 5000)  # smallest units
_FUEL = ("Unleaded 95", "Diesel", "Super 98")


@dataclass(frozen=True)
class Item:
    """A line of a receipt. `price` is for one, in the currency's smallest unit."""

    name: str
    quantity: int
    price: int

    @property
    def amount(self) -> int:
        """What the line adds to the receipt."""
        return self.quantity * self.price


@dataclass(frozen=True)
class Receipt:
    """The facts of one receipt; amounts are whole numbers of the currency's smallest unit.

    Attributes:
        kind: kind of shop, a key of `vocabulary.GOODS`.
        currency: how its amounts are written.
        rate: tax rate, per mille.
        tip: 0 if there is none.
        paid: what the customer handed over; equals the total unless paid in cash.
        date, time: as printed.
    """

    kind: str
    store: str
    street: str
    city: str
    phone: str
    clerk: str
    currency: Currency
    items: tuple[Item, ...]
    rate: int
    tip: int
    payment: str
    paid: int
    date: str
    time: str
    number: str

    @cached_property
    def goods(self) -> int:
        """Sum of the items as priced."""
        return sum(item.amount for item in self.items)

    @cached_property
    def tax(self) -> int:
        """Tax on the items, in the prices or on top of them; rounded half up."""
        base = 1000 + self.rate if self.currency.included else 1000
        return (2 * self.goods * self.rate + base) // (2 * base)

    @cached_property
    def total(self) -> int:
        """What was to be paid."""
        return self.goods + (0 if self.currency.included else self.tax) + self.tip

    @property
    def change(self) -> int:
        """What the customer got back."""
        return self.paid - self.total

    @property
    def tax_label(self) -> str:
        """The tax as its line on the receipt names it, such as "VAT 20%"."""
        whole, part = divmod(self.rate, 10)
        return f"{self.currency.tax} {whole}{f'.{part}' if part else ''}%"


def draw_currency(rng: np.random.Generator) -> Currency:
    """Choose a currency."""
    return CURRENCIES[int(rng.integers(len(CURRENCIES)))]


def draw_stores(rng: np.random.Generator, count: int) -> list[tuple[str, str]]:
    """Choose shops with different names.

    Returns:
        (kind, name) of each; the names' first words differ, so that no name can be taken for another.
    """
    kinds = list(GOODS)
    firsts = rng.permutation(len(NAMES))[:count]
    chosen = []
    for first in firsts:
        kind = kinds[int(rng.integers(len(kinds)))]
        seconds = GOODS[kind][0]
        chosen.append((kind, f"{NAMES[first]} {seconds[int(rng.integers(len(seconds)))]}"))
    return chosen


def draw_receipt(rng: np.random.Generator, kind: str, store: str, currency: Currency, most_items: int) -> Receipt:
    """Draw the facts of one receipt.

    Args:
        rng: source of randomness.
        kind: kind of shop.
        store: its name.
        currency: how its amounts are written.
        most_items: longest list of items, at least 1.
    """
    items = _draw_items(rng, kind, currency, most_items)
    goods = sum(item.amount for item in items)
    tip = _rounded(goods * float(rng.uniform(0.05, 0.2)), currency) if _tipped(rng, kind) else 0
    moment = _FIRST_DAY + datetime.timedelta(days=int(rng.integers(_DAYS)), minutes=int(rng.integers(7 * 60, 22 * 60)))
    payment = PAYMENTS[int(rng.integers(len(PAYMENTS)))] if rng.random() > 0.3 else "cash"
    unpaid = Receipt(
        kind=kind,
        store=store,
        street=f"{int(rng.integers(1, 200))} {STREETS[int(rng.integers(len(STREETS)))]}",
        city=CITIES[int(rng.integers(len(CITIES)))],
        phone=f"0{int(rng.integers(10, 99))} {int(rng.integers(100, 999))} {int(rng.integers(1000, 9999))}",
        clerk=CLERKS[int(rng.integers(len(CLERKS)))],
        currency=currency,
        items=items,
        rate=currency.rates[int(rng.integers(len(currency.rates)))],
        tip=tip,
        payment=payment,
        paid=0,
        date=moment.strftime(DATE_FORMATS[int(rng.integers(len(DATE_FORMATS)))]),
        time=moment.strftime("%H:%M"),
        number=f"{int(rng.integers(10**3, 10**6)):06d}",
    )
    paid = _handed_over(rng, unpaid.total, currency) if payment == "cash" else unpaid.total
    return Receipt(**{name: getattr(unpaid, name) for name in Receipt.__dataclass_fields__} | {"paid": paid})


def _draw_items(rng: np.random.Generator, kind: str, currency: Currency, most: int) -> tuple[Item, ...]:
    goods = GOODS[kind][1]
    count = int(rng.integers(1, min(most, len(goods)) + 1))
    if kind == "taxi":  # always the fare, then the extras in their order
        chosen = list(range(count))
    elif kind == "fuel":  # one sort of fuel, then what the shop sells
        chosen = [int(rng.integers(len(_FUEL))), *range(len(_FUEL), len(_FUEL) + min(count - 1, 2))]
    else:
        chosen = [int(index) for index in rng.permutation(len(goods))[:count]]
    items = []
    for index in chosen:
        name, cents = goods[index]
        if name in _FUEL:
            quantity = int(rng.integers(8, 61))
        else:
            quantity = 1 if kind == "taxi" or rng.random() < 0.75 else int(rng.integers(2, 5))
        dollars = cents * float(rng.uniform(0.75, 1.35)) / 100
        items.append(Item(name, quantity, _rounded(dollars * _minor_units_of_a_dollar(currency), currency)))
    return tuple(items)


def _tipped(rng: np.random.Generator, kind: str) -> bool:
    return kind in ("restaurant", "taxi", "cafe") and bool(rng.random() < 0.35)


def _minor_units_of_a_dollar(currency: Currency) -> float:
    return 100 * currency.scale


def _rounded(amount: float, currency: Currency) -> int:
    return max(round(amount / currency.step), 1) * currency.step


def _handed_over(rng: np.random.Generator, total: int, currency: Currency) -> int:
    """Cash: the total, or the next multiple of some note."""
    if rng.random() < 0.3:
        return total
    note = _NOTES[int(rng.integers(len(_NOTES)))]
    return -(-total // note) * note
