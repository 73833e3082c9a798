"""Papers that an office scans beside receipts, and that are none: pages, forms, statements, cuttings, strips.

They fill a picture the way a scanned receipt does and come in its shapes, so that neither size nor outline tells the
two apart: only what is on the paper does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from receipt_counter.data.render.fonts import LINE, width_in_ems
from receipt_counter.data.render.negatives import (
    blank,
    business_card,
    envelope,
    letter,
    list_note,
    note,
    spreadsheet,
    ticket,
)
from receipt_counter.data.render.paper import Block, Disc, Sheet, Text
from receipt_counter.data.render.vocabulary import CITIES, CLERKS, NAMES, STREETS

_WORDS = (
    "the", "office", "of", "your", "return", "year", "and", "form", "we", "letter", "tax", "a", "notice", "please",
    "within", "days", "to", "be", "sent", "by", "documents", "in", "which", "claim", "is", "for", "any", "period",
    "with", "income", "number", "this", "person", "not", "made", "under", "section", "on", "or", "deadline", "may",
    "request", "review", "appeal", "has", "been", "it", "as", "decision", "records", "at", "must", "keep", "if",
    "amount", "changes", "reported", "address", "business", "details", "from", "household", "enclosed", "staff",
    "questions", "paid", "interest", "further", "information", "would", "like", "thank",
)  # fmt: skip
_FIELDS = ("Surname", "First name", "Date of birth", "Street", "Town", "Tax number", "Bank", "Employer", "Signature")
_WHITE = (250, 250, 250)


def page(rng: np.random.Generator) -> Sheet:
    """A page of a letter or a book: paragraphs set across its whole width."""
    width = rng.uniform(26, 46)
    margin, face = rng.uniform(1.5, 4), _face(rng)
    inner = width - 2 * margin
    texts, y = _letterhead(rng, margin, inner, face) if rng.random() < 0.6 else ([], margin)
    height = width * rng.uniform(1.2, 1.5)
    spacing = LINE * rng.choice([1.0, 1.0, 1.25, 1.6])
    stop = height - margin - rng.choice([2.0, rng.uniform(2, 0.45 * height)])
    while y < stop:
        lines = int(rng.integers(2, 8))
        texts += [
            Text(margin, y + i * spacing, line, face, inner)
            for i, line in enumerate(_paragraph(rng, face, inner, lines))
        ]
        y += (lines + rng.choice([0.3, 1.0])) * spacing
    bottom = max(height, y + margin)
    if rng.random() < 0.5:
        texts.append(Text(margin, min(y + 0.4, bottom - 2.6), _one(rng, CLERKS), "pen", inner, 1.8))
    return Sheet(width, bottom, face, _WHITE, "straight", tuple(texts))


def cutting(rng: np.random.Generator) -> Sheet:
    """A cutting from a newspaper: one narrow column of running text under a headline, as narrow as a receipt."""
    face = _face(rng)
    width = rng.uniform(13, 21)
    margin = rng.uniform(0.8, 1.6)
    inner, size = width - 2 * margin, rng.uniform(1.5, 2.2)
    texts, y = [], margin
    for line in _paragraph(rng, f"{face}_bold", inner / size, int(rng.integers(1, 4))):
        texts.append(Text(margin, y, line.capitalize(), f"{face}_bold", inner, size))
        y += size * LINE
    y += 0.5
    for line in _paragraph(rng, face, inner, int(rng.integers(12, 34))):
        texts.append(Text(margin, y, line, face, inner))
        y += LINE
    return Sheet(width, y + margin, face, _WHITE, "straight", tuple(texts))


def form(rng: np.random.Generator) -> Sheet:
    """A form: a heading, boxes with labels, a few of them filled in by hand."""
    width, margin = rng.uniform(22, 38), rng.uniform(1.2, 2.5)
    inner = width - 2 * margin
    face = _face(rng)
    texts = [Text(margin, margin, f"Form {int(rng.integers(1, 90))}", f"{face}_bold", inner, rng.uniform(1.4, 2.4))]
    blocks, y = [Block(margin, margin + 3.4, inner, 0.25)], margin + 4.2
    for _ in range(int(rng.integers(6, 14))):
        parts = int(rng.integers(1, 4))
        room = inner / parts
        high = rng.uniform(1.9, 2.8)
        for part in range(parts):
            x = margin + part * room
            texts.append(Text(x + 0.2, y, _one(rng, _FIELDS), face, room - 0.6, 0.75))
            blocks += _box(x, y + 0.95, room - 0.4, high - 0.9)
            if rng.random() < 0.45:
                texts.append(Text(x + 0.5, y + 0.85, _one(rng, (*NAMES, *CITIES)), "pen", room - 1.4, 1.1))
        y += high + 0.3
    return Sheet(width, y + margin, face, _WHITE, "straight", tuple(texts), tuple(blocks))


def statement(rng: np.random.Generator) -> Sheet:
    """A ruled table that covers a page or a strip: years, regions, figures without a sum."""
    columns, rows = int(rng.integers(2, 6)), int(rng.integers(10, 30))
    cell, line, margin = rng.uniform(3.8, 6), rng.uniform(1.4, 1.9), rng.uniform(1, 2.2)
    width, top = columns * cell + 2 * margin, margin + 2.6
    blocks = [Block(margin, top + row * line, columns * cell, 0.1) for row in range(rows + 1)]
    blocks += [Block(margin + i * cell, top, 0.1, rows * line) for i in range(columns + 1)]
    face = _face(rng)
    texts = [Text(margin, margin, "Figures by region", f"{face}_bold", width - 2 * margin, 1.3)]
    for row in range(rows):
        for i in range(columns):
            text = _one(rng, CITIES) if i == 0 else str(int(rng.integers(10, 9999)))
            texts.append(Text(margin + i * cell + 0.3, top + row * line + 0.15, text, face, cell - 0.6, 0.9))
    return Sheet(width, top + rows * line + margin, face, _WHITE, "straight", tuple(texts), tuple(blocks))


def written_page(rng: np.random.Generator) -> Sheet:
    """A sheet from a pad, ruled or not, written on by hand, up to full."""
    width = rng.uniform(14, 26)
    height, margin, size = width * rng.uniform(1.1, 2.4), 1.4, rng.uniform(1.1, 1.6)
    pitch = size * LINE * 1.15
    rows = int((height - 2 * margin) / pitch)
    ruled = rng.random() < 0.5
    blocks = (
        tuple(Block(0, margin + (i + 0.95) * pitch, width, 0.06, (150, 150, 160)) for i in range(rows)) if ruled else ()
    )
    inner = width - 2 * margin
    lines = _paragraph(rng, "pen", inner / size, int(rng.integers(1, rows + 1)))
    texts = tuple(
        Text(margin, margin + i * pitch, line, "pen", inner * rng.uniform(0.5, 1), size) for i, line in enumerate(lines)
    )
    return Sheet(width, height, "pen", _WHITE, "straight", texts, blocks)


def picture_card(rng: np.random.Generator) -> Sheet:
    """A flyer: one large mark, a slogan, hardly any text."""
    width = rng.uniform(12, 24)
    height = width * rng.uniform(0.7, 2.2)
    size = rng.uniform(1.6, 2.8)
    ink = (int(rng.integers(30, 150)),) * 3
    radius = rng.uniform(0.15, 0.35) * min(width, height)
    discs = (Disc(width * rng.uniform(0.35, 0.65), height * rng.uniform(0.35, 0.6), radius, ink),)
    texts = [
        Text(1, 1 + i * size * LINE, line, "sans_bold", width - 2, size, "centre")
        for i, line in enumerate(_paragraph(rng, "sans_bold", (width - 2) / size, 2))
    ]
    texts.append(Text(1, height - 2.2, _one(rng, STREETS), "sans", width - 2, 1.0, "centre"))
    return Sheet(width, height, "sans", _WHITE, "straight", tuple(texts), (), discs)


Draw = Callable[[np.random.Generator], Sheet]
# Those that fill a picture as a scanned receipt does.
PAGES: tuple[Draw, ...] = (
    *(page, cutting, form, statement, written_page, picture_card) * 2,
    *(letter, spreadsheet, blank, list_note),
)
# Those that can be told from a small receipt when they are small themselves, because other papers lie beside them.
SMALL: tuple[Draw, ...] = (
    *(picture_card, picture_card, page, form),
    *(ticket, business_card, note, blank, envelope, list_note),
)


def _letterhead(rng: np.random.Generator, margin: float, inner: float, face: str) -> tuple[list[Text], float]:
    size = rng.uniform(1.4, 2.4)
    align = str(rng.choice(["left", "centre", "right"]))
    head = [Text(margin, margin, f"{_one(rng, NAMES)} and {_one(rng, NAMES)}", f"{face}_bold", inner, size, align)]
    y = margin + size * LINE
    for line in (_one(rng, STREETS), _one(rng, CITIES)):
        head.append(Text(margin, y, line, face, inner, 0.9, align))
        y += LINE
    y += 2.0
    for line in (_one(rng, CLERKS), _one(rng, STREETS), _one(rng, CITIES)):
        head.append(Text(margin, y, line, face, inner))
        y += LINE
    return head, y + 1.5


def _paragraph(rng: np.random.Generator, face: str, room: float, lines: int) -> list[str]:
    """Lines of words that fill `room` ems each."""
    found = []
    for _ in range(lines):
        words: list[str] = []
        while width_in_ems(face, " ".join(words)) < room - 2.5:
            words.append(_one(rng, _WORDS))
        found.append(" ".join(words))
    return found


def _box(x: float, y: float, width: float, height: float) -> list[Block]:
    return [
        Block(x, y, width, 0.1),
        Block(x, y + height, width, 0.1),
        Block(x, y, 0.1, height),
        Block(x + width, y, 0.1, height + 0.1),
    ]


def _face(rng: np.random.Generator) -> str:
    return "serif" if rng.random() < 0.5 else "sans"


def _one(rng: np.random.Generator, choices: tuple[str, ...] | list[str]) -> str:
    return choices[int(rng.integers(len(choices)))]
