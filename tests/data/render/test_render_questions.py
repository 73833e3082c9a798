"""Every answer is true of the picture, judged by reading the papers as they are drawn."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from receipt_counter.data.example import QUESTION_TYPES, Question
from receipt_counter.data.render.negatives import NEGATIVES
from receipt_counter.data.render.phrasings import phrasings
from receipt_counter.data.render.questions import ask, askable
from receipt_counter.data.render.scene import Scene, draw_scene
from tests.data.render.reader import Paper, number, read

TYPES = [name for name in QUESTION_TYPES for _ in range(4)]
NAME = r"the receipt(?: from (?P<store>.+?))?"


@pytest.fixture(scope="module")
def asked(scenes: list[Scene]) -> list[tuple[Scene, list[Paper], Question]]:
    """As many questions about every scene as it holds."""
    found = []
    for index, scene in enumerate(scenes):
        kinds = askable(scene)
        papers = read(scene)
        questions = ask(np.random.default_rng(index), scene, [name for name in TYPES if name in kinds])
        found += [(scene, papers, question) for question in questions]
    return found


def true_counting(receipts: list[Paper], scene: Scene, answer: str) -> bool:
    count = len(scene.receipts)
    words = {0: "are no receipts", 1: "is 1 receipt"}.get(count, f"are {count} receipts")
    return answer == f"There {words} in this photo."


def true_existence(receipts: list[Paper], scene: Scene, answer: str) -> bool:
    return answer.startswith("Yes, there is at least one") if scene.receipts else answer.startswith("No, there is no")


def the_paper(receipts: list[Paper], store: str | None) -> Paper:
    """The receipt that is meant; there must be exactly one."""
    (paper,) = [paper for paper in receipts if store is None or paper.has(store)]
    return paper


def true_value(receipts: list[Paper], scene: Scene, answer: str) -> bool:
    if match := re.fullmatch(r"The receipts come to (?P<amount>.+) together\.", answer):
        totals = [paper.right_of("total") for paper in receipts]
        assert len(totals) == len(scene.receipts) > 1
        return number(match["amount"]) == sum(number(total) for total in totals if total)
    if match := re.fullmatch(rf"The price of (?P<item>.+) on {NAME} is (?P<amount>.+)\.", answer):
        rows = [row for row in the_paper(receipts, match["store"]).items() if row[0].lower() == match["item"].lower()]
        ((_, quantity, amount),) = rows
        return quantity == 1 and number(amount) == number(match["amount"])
    match = re.fullmatch(rf"The (?P<label>\w+) on {NAME} is (?P<amount>.+)\.", answer)
    assert match, answer
    paper = the_paper(receipts, match["store"])
    printed = paper.tax() if match["label"] == "tax" else paper.right_of(match["label"])
    return printed == match["amount"]


def true_detail(receipts: list[Paper], scene: Scene, answer: str) -> bool:
    if match := re.fullmatch(r"The receipt is from (?P<store>.+)\.", answer):
        return len(scene.receipts) == 1 and receipts[0].has(match["store"])
    if match := re.fullmatch(rf"There (?:is 1 item|are (?P<count>\d+) different items) on {NAME}\.", answer):
        return len(the_paper(receipts, match["store"]).items()) == int(match["count"] or 1)
    if match := re.fullmatch(rf"The quantity of (?P<item>.+) on {NAME} is (?P<count>\d+)\.", answer):
        rows = [row for row in the_paper(receipts, match["store"]).items() if row[0].lower() == match["item"].lower()]
        return [row[1] for row in rows] == [int(match["count"])]
    if match := re.fullmatch(rf"The payment on {NAME} was by (?P<means>.+)\.", answer):
        paper = the_paper(receipts, match["store"])
        printed = paper.right_of("paid by", "payment") or ("cash" if paper.right_of("cash") else None)
        return printed == match["means"]
    if match := re.fullmatch(rf"The number of {NAME} is (?P<words>\d+)\.", answer):
        paper = the_paper(receipts, match["store"])
        return paper.has(f"Receipt {match['words']}") or paper.has(f"No. {match['words']}")
    match = re.fullmatch(rf"The (?:date|time|town) on {NAME} is (?P<words>.+)\.", answer)
    assert match, answer
    return the_paper(receipts, match["store"]).has(match["words"])


def true_edge(receipts: list[Paper], scene: Scene, answer: str) -> bool:
    if "photo" in answer:
        return true_presence(receipts, scene, answer)
    if match := re.fullmatch(r"No, the (.+) is not a receipt\.", answer):
        return match[1] in scene.others
    if match := re.fullmatch(r"The receipt from (.+) has the higher total\.", answer):
        totals = {paper.has(match[1]): number(paper.right_of("total") or "") for paper in receipts}
        return len(receipts) == len(scene.receipts) == 2 and totals[True] > totals[False]
    assert answer == "There is no tip on the receipt."
    return len(scene.receipts) == len(receipts) == 1 and receipts[0].right_of("tip") is None


def true_presence(receipts: list[Paper], scene: Scene, answer: str) -> bool:
    count = len(scene.receipts)
    if match := re.fullmatch(r"(Yes|No), this photo (?:shows|does not show) more than (\d) receipts?\.", answer):
        return (match[1] == "Yes") == (count > int(match[2]))
    if match := re.fullmatch(r"Yes, there is an? (.+) in this photo\.", answer):
        return match[1] in scene.others
    if match := re.fullmatch(r"There is no receipt from (.+) in this photo\.", answer):
        return len(receipts) == count > 0 and not any(paper.has(match[1]) for paper in receipts)
    if answer == "There is no receipt in this photo.":
        return count == 0
    match = re.fullmatch(r"No, there is no (.+) in this photo\.", answer)
    assert match, answer
    return match[1] in NEGATIVES and match[1] not in scene.others


TRUE = {
    "counting": true_counting,
    "existence": true_existence,
    "value": true_value,
    "detail": true_detail,
    "edge": true_edge,
}


@pytest.mark.parametrize("kind", QUESTION_TYPES)
def test_answers_are_true_of_the_picture(kind: str, asked: list[tuple[Scene, list[Paper], Question]]) -> None:
    of_kind = [entry for entry in asked if entry[2].type == kind]
    assert len(of_kind) > 200
    for scene, papers, question in of_kind:
        receipts = [paper for paper in papers if paper.is_receipt]
        assert TRUE[kind](receipts, scene, question.answer), question


def test_every_kind_of_answer_occurs(asked: list[tuple[Scene, list[Paper], Question]]) -> None:
    answers = "\n".join({question.answer for _, _, question in asked})
    for words in (
        "The tax on", "The subtotal on", "The tip on", "The cash on", "The change on", "The price of", "together.",
        "The time on", "The town on", "The quantity of", "has the higher total", "is not a receipt", "There is no tip",
        "There is no receipt from", "There are 5 receipts", "was by card",
    ):  # fmt: skip
        assert words in answers, words


def test_answers_are_sentences_and_questions_are_complete(asked: list[tuple[Scene, list[Paper], Question]]) -> None:
    for _, _, question in asked:
        assert len(question.answer.split()) >= 4
        assert question.answer.endswith(".")
        assert not re.search(r"[{}]", question.question + question.answer)


def test_a_question_has_one_answer_in_one_picture(scenes: list[Scene]) -> None:
    for index, scene in enumerate(scenes):
        kinds = askable(scene)
        questions = ask(np.random.default_rng(index), scene, [name for name in TYPES if name in kinds][:8])
        texts = [question.question for question in questions]
        assert len(set(texts)) == len(texts)


def test_papers_that_are_no_receipts_show_no_total(scenes: list[Scene]) -> None:
    for scene in scenes:
        for sheet in scene.sheets[len(scene.receipts) :]:
            words = " ".join(text.text.lower() for text in sheet.texts)
            assert "total" not in words
            assert "receipt" not in words


def test_nothing_written_is_asked_where_it_is_too_small_to_read() -> None:
    for index in range(60):
        scene = draw_scene(7, "train", index, 128, 5)
        large = [paper.is_receipt for paper in read(scene)]
        assert any(large) or askable(scene) <= {"counting", "existence", "edge"}


@pytest.mark.parametrize("kind", QUESTION_TYPES)
def test_there_are_at_least_ten_phrasings(kind: str) -> None:
    found = phrasings()[kind]
    assert len(set(found)) == len(found) >= 10


def test_all_phrasings_are_used(asked: list[tuple[Scene, list[Paper], Question]]) -> None:
    used = Counter(question.question for _, _, question in asked if question.type in ("counting", "existence"))
    assert set(used) == set(phrasings()["counting"]) | set(phrasings()["existence"])


def test_more_questions_than_facts_fall_back_to_counting() -> None:
    scene = next(
        scene for scene in (draw_scene(0, "t", i, 448, 1) for i in range(50)) if scene.legible and scene.legible[0]
    )
    questions = ask(np.random.default_rng(0), scene, ["value"] * 12)
    assert {question.type for question in questions} == {"value", "counting"}
