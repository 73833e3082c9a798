"""Questions about a scene that its picture answers, each with its one reference answer.

What is written on receipts is asked only of receipts that can be read in the finished picture (`Scene.legible`), and
only what their style prints. "The receipt" means the only one; among several a receipt is named by its store, which no
other receipt of the picture shares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from receipt_counter.data.example import QUESTION_TYPES, Question
from receipt_counter.data.render import phrasings
from receipt_counter.data.render.facts import Receipt
from receipt_counter.data.render.negatives import NEGATIVES
from receipt_counter.data.render.scene import Scene
from receipt_counter.data.render.vocabulary import GOODS, NAMES

NO_RECEIPT = "There is no receipt in this photo."
_AMOUNTS = {  # kind of question: how its answer begins
    "total": "The total",
    "tax": "The tax",
    "subtotal": "The subtotal",
    "tip": "The tip",
    "paid": "The cash",
    "change": "The change",
}
_ASKED_OF_NOTHING = 4  # questions about a receipt's text that may be asked of a picture without receipts
_UNITS = ("fuel", "taxi", "services")  # what they sell is not counted in pieces


# Askable types of pictures in which nothing, or something, can be read.
ASKABLE = (frozenset(("counting", "existence", "edge")), frozenset(QUESTION_TYPES))


class Candidate(NamedTuple):
    """A question that may be asked: its phrasings and its answer."""

    phrases: tuple[str, ...]
    answer: str
    words: Mapping[str, str]


def count_answer(count: int) -> str:
    """The reference answer to how many receipts there are."""
    if count == 0:
        return "There are no receipts in this photo."
    return f"There {'is' if count == 1 else 'are'} {count} receipt{'' if count == 1 else 's'} in this photo."


def existence_answer(count: int) -> str:
    """The reference answer to whether there is any receipt."""
    return "Yes, there is at least one receipt in this photo." if count else "No, there is no receipt in this photo."


def askable(scene: Scene) -> frozenset[str]:
    """The question types that have an answer in the picture."""
    return ASKABLE[any(scene.legible)]


def ask(rng: np.random.Generator, scene: Scene, types: list[str]) -> tuple[Question, ...]:
    """Ask questions of the wanted types, no two in the same words; only counting and existence come again in others.

    Args:
        rng: chooses what is asked, and in which words.
        scene: what the picture shows.
        types: a question type for each question, all of them in `askable(scene)`. Where a scene holds fewer facts of
            a type than are wanted, counting questions take the place of the others.
    """
    pools: dict[str, list[Candidate]] = {}
    for name in dict.fromkeys(types):
        if name in ("counting", "existence"):
            continue
        candidates = list(_CANDIDATES[name](scene, rng))
        pools[name] = [candidates[i] for i in rng.permutation(len(candidates))]
    repeated = {
        "counting": Candidate(phrasings.COUNTING, count_answer(len(scene.receipts)), {}),
        "existence": Candidate(phrasings.EXISTENCE, existence_answer(len(scene.receipts)), {}),
    }
    asked: dict[str, Question] = {}
    for wanted in types:
        name = wanted if wanted in repeated or pools[wanted] else "counting"
        candidate = repeated[name] if name in repeated else pools[name].pop()
        phrases = [phrase.format(**candidate.words) for phrase in candidate.phrases]
        unused = [phrase for phrase in phrases if phrase not in asked]
        text = unused[int(rng.integers(len(unused)))]
        asked[text] = Question(name, text, candidate.answer)
    return tuple(asked.values())


def _readable(scene: Scene) -> Iterator[tuple[int, Receipt, str, dict[str, str]]]:
    """The receipts that can be read: index, facts, what to call it, {fact: text as printed}."""
    for index, (receipt, legible) in enumerate(zip(scene.receipts, scene.legible, strict=True)):
        if legible:
            name = "the receipt" if len(scene.receipts) == 1 else f"the receipt from {receipt.store}"
            printed = {text.fact: text.text for text in scene.sheets[index].texts if text.fact}
            yield index, receipt, name, printed


def _values(scene: Scene, rng: np.random.Generator) -> Iterator[Candidate]:
    for _, receipt, name, printed in _readable(scene):
        amounts = {
            "total": receipt.total,
            "tax": receipt.tax,
            "subtotal": receipt.goods,
            "tip": receipt.tip,
            "paid": receipt.paid,
            "change": receipt.change,
        }
        for kind, amount in amounts.items():
            if kind in printed:
                answer = f"{_AMOUNTS[kind]} on {name} is {receipt.currency.write(amount)}."
                yield Candidate(phrasings.VALUE[kind], answer, {"receipt": name})
        for position, item in enumerate(receipt.items):
            if item.quantity == 1 and f"item {position}" in printed:
                answer = f"The price of {item.name} on {name} is {receipt.currency.write(item.price)}."
                yield Candidate(phrasings.VALUE["price"], answer, {"receipt": name, "item": item.name})
    currencies = {receipt.currency for receipt in scene.receipts}
    if len(scene.receipts) > 1 and all(scene.legible) and len(currencies) == 1:
        together = next(iter(currencies)).write(sum(receipt.total for receipt in scene.receipts))
        yield Candidate(phrasings.VALUE["sum"], f"The receipts come to {together} together.", {})


def _details(scene: Scene, rng: np.random.Generator) -> Iterator[Candidate]:
    for _, receipt, name, printed in _readable(scene):
        answers = {
            "date": f"The date on {name} is {receipt.date}.",
            "time": f"The time on {name} is {receipt.time}.",
            "number": f"The number of {name} is {receipt.number}.",
            "city": f"The town on {name} is {receipt.city}.",
            "payment": f"The payment on {name} was by {receipt.payment}.",
        }
        if len(scene.receipts) == 1:
            answers["store"] = f"The receipt is from {receipt.store}."
        shown = set(printed) | ({"payment"} if "paid" in printed else set())
        for kind, answer in answers.items():
            if kind in shown:
                yield Candidate(phrasings.DETAIL[kind], answer, {"receipt": name})
        if receipt.kind not in _UNITS:
            count = len(receipt.items)
            items = "is 1 item" if count == 1 else f"are {count} different items"
            yield Candidate(phrasings.DETAIL["items"], f"There {items} on {name}.", {"receipt": name})
            for item in receipt.items:
                if item.quantity > 1:
                    answer = f"The quantity of {item.name} on {name} is {item.quantity}."
                    yield Candidate(phrasings.DETAIL["quantity"], answer, {"receipt": name, "item": item.name})


def _edges(scene: Scene, rng: np.random.Generator) -> Iterator[Candidate]:
    yield from _things(scene, rng)
    count = len(scene.receipts)
    for limit in (1, 2, 3):
        number = f"{limit} receipt{'s' if limit > 1 else ''}"
        answer = f"No, this photo does not show more than {number}."
        if count > limit:
            answer = f"Yes, this photo shows more than {number}."
        yield Candidate(phrasings.EDGE["more than"], answer, {"number": number})
    if count == 0:
        for _ in range(_ASKED_OF_NOTHING):
            yield Candidate(phrasings.EDGE["no receipt"], NO_RECEIPT, {"receipt": "the receipt"})
    elif all(scene.legible):
        yield from _catches(scene, rng)


def _things(scene: Scene, rng: np.random.Generator) -> Iterator[Candidate]:
    """About what is no receipt: is it there, is it one?"""
    for thing in scene.others:
        yield Candidate(phrasings.EDGE["thing"], f"Yes, there is {_a(thing)} in this photo.", {"thing": _a(thing)})
        yield Candidate(phrasings.EDGE["not a receipt"], f"No, the {thing} is not a receipt.", {"thing": thing})
    absent = [thing for thing in NEGATIVES if thing not in scene.others]
    thing = absent[int(rng.integers(len(absent)))]
    yield Candidate(phrasings.EDGE["thing"], f"No, there is no {thing} in this photo.", {"thing": _a(thing)})


def _catches(scene: Scene, rng: np.random.Generator) -> Iterator[Candidate]:
    """About receipts that can all be read: what is not on them, which is higher."""
    if len(scene.receipts) == 1 and not scene.receipts[0].tip:
        yield Candidate(phrasings.EDGE["no tip"], "There is no tip on the receipt.", {"receipt": "the receipt"})
    yield _another_store(scene, rng)
    if len(scene.receipts) == 2:
        first, second = scene.receipts
        if first.currency == second.currency and first.total != second.total:
            higher = first if first.total > second.total else second
            yield Candidate(phrasings.EDGE["higher"], f"The receipt from {higher.store} has the higher total.", {})


def _a(thing: str) -> str:
    return f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"


def _another_store(scene: Scene, rng: np.random.Generator) -> Candidate:
    taken = " ".join(receipt.store for receipt in scene.receipts)
    free = [name for name in NAMES if name not in taken]
    kinds = list(GOODS)
    seconds = GOODS[kinds[int(rng.integers(len(kinds)))]][0]
    store = f"{free[int(rng.integers(len(free)))]} {seconds[int(rng.integers(len(seconds)))]}"
    answer = f"There is no receipt from {store} in this photo."
    return Candidate(phrasings.EDGE["other store"], answer, {"receipt": f"the receipt from {store}"})


_CANDIDATES = {"value": _values, "detail": _details, "edge": _edges}
