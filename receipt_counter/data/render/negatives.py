"""What lies beside receipts, or instead of them, and is none: the papers and things a model must not count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from receipt_counter.data.render.fonts import LINE
from receipt_counter.data.render.paper import BLACK, Block, Colour, Column, Disc, Sheet, Text
from receipt_counter.data.render.vocabulary import CITIES, CLERKS, NAMES, STREETS

_T = TypeVar("_T")
_SENTENCES = (
    "We write to you about your tax return of last year.",
    "Please send the missing forms to the office named above",
    "within thirty days of the date of this letter.",
    "If you have any questions, our staff will be glad to help",
    "you from Monday to Friday between nine and four.",
    "The enclosed leaflet explains how to object to a notice",
    "and which documents you should keep for your records.",
    "This letter was made by machine and is valid unsigned.",
    "Your request has been received and is being looked at.",
    "You do not need to do anything for the time being.",
    "Changes to your address must be reported without delay.",
    "We thank you for your patience in this matter.",
)
_NOTES = ("call mum", "water plants", "meeting at 3", "buy stamps", "fix the bike", "send parcel", "dentist", "books")
_EVENTS = ("CONCERT", "TRAIN", "CINEMA", "MUSEUM", "FERRY", "THEATRE")
_JOBS = ("Architect", "Engineer", "Designer", "Lawyer", "Consultant", "Photographer")
_FIGURES = tuple(str(137 * i % 9000 + 100) for i in range(300))
_BRANDS: tuple[Colour, ...] = ((26, 72, 122), (150, 40, 44), (30, 104, 78), (190, 120, 30), (84, 52, 120), (40, 44, 52))
_PAPERS: tuple[Colour, ...] = ((250, 249, 245), (242, 242, 240), (252, 250, 240))
_NOTEPAPERS: tuple[Colour, ...] = ((250, 232, 120), (246, 176, 190), (170, 220, 170), (168, 208, 240))


def letter(rng: np.random.Generator) -> Sheet:
    """A letter from the tax office: letterhead, paragraphs across the whole sheet, a signature."""
    brand = _pick(rng, _BRANDS)
    width, height, margin = 34.0, 46.0, 3.0
    inner = width - 2 * margin
    texts = [
        Text(margin, 2.2, "Tax Office", "serif_bold", inner, 1.7, "left", brand),
        Text(margin, 5.0, f"{_pick(rng, STREETS)}, {_pick(rng, CITIES)}", "serif", inner, 0.9),
        Text(margin, 9.0, f"To {_pick(rng, CLERKS)} {_pick(rng, NAMES)}", "serif", inner),
        Text(margin, 10.4, f"Our reference {int(rng.integers(10**5, 10**6))}", "serif", inner),
        Text(margin, 13.4, "Your tax return", "serif_bold", inner, 1.15),
    ]
    y = 16.0
    order = rng.permutation(len(_SENTENCES))
    for number, index in enumerate(order[: int(rng.integers(8, len(order) + 1))]):
        texts.append(Text(margin, y, _SENTENCES[index], "serif", inner))
        y += LINE * (1.7 if number % 4 == 3 else 1.0)
    texts.append(Text(margin, y + 1.5, "Yours faithfully", "serif", inner))
    texts.append(Text(margin, y + 3.0, _pick(rng, CLERKS), "pen", inner, 1.6, "left", (30, 40, 120)))
    crest = Disc(width - margin - 1.6, 3.6, 1.6, brand)
    rule = Block(margin, 7.2, inner, 0.15, brand)
    return Sheet(width, height, "serif", _pick(rng, _PAPERS), "straight", tuple(texts), (rule,), (crest,))


def spreadsheet(rng: np.random.Generator) -> Sheet:
    """A printed spreadsheet: ruled in both directions, figures in every cell."""
    columns, rows = int(rng.integers(3, 6)), int(rng.integers(7, 13))
    cell, line, margin = 4.6, 1.7, 1.6
    width, height = columns * cell + 2 * margin, rows * line + 2 * margin + 2.2
    top = margin + 2.2
    blocks = [Block(margin, top, columns * cell, line, (206, 214, 226))]
    blocks += [Block(margin, top + row * line, columns * cell, 0.1) for row in range(rows + 1)]
    blocks += [Block(margin + i * cell, top, 0.1, rows * line) for i in range(columns + 1)]
    texts = [Text(margin, margin * 0.6, f"Table {int(rng.integers(1, 20))}: figures by region", "sans_bold", width - 4)]
    for row in range(rows):
        for i in range(columns):
            heading = f"Q{i}" if i else "Region"
            text = heading if row == 0 else _pick(rng, _FIGURES if i else CITIES)
            x, y = margin + i * cell + 0.3, top + row * line + 0.2
            texts.append(Text(x, y, text, "sans", cell - 0.6, 0.85, "right" if i and row else "left"))
    return Sheet(width, height, "sans", _pick(rng, _PAPERS), "straight", tuple(texts), tuple(blocks))


def ticket(rng: np.random.Generator) -> Sheet:
    """A ticket: coloured, lying, perforated, with a stub."""
    brand = _pick(rng, _BRANDS)
    tint = _lighter((brand[0] // 6, brand[1] // 6, brand[2] // 6), 210)
    width, height, stub = 25.0, 9.5, 6.0
    inner = width - stub - 3.2
    texts = (
        Text(1.4, 0.35, f"{_pick(rng, _EVENTS)} TICKET", "sans_bold", inner, 1.5, "left", (250, 250, 250)),
        Text(1.4, 3.2, f"{_pick(rng, CITIES)} - {_pick(rng, CITIES)}", "sans_bold", inner, 1.2),
        Text(1.4, 5.2, f"Row {int(rng.integers(1, 30))}  Seat {int(rng.integers(1, 90))}", "sans", inner, 1.2),
        Text(1.4, 7.0, f"Gate {_pick(rng, 'ABCDEF')}", "sans", inner, 1.2),
        Text(width - stub + 0.8, 3.4, "ADMIT", "sans_bold", stub - 1.8, 1.2, "centre"),
        Text(width - stub + 0.8, 5.0, "ONE", "sans_bold", stub - 1.8, 1.5, "centre"),
    )
    dashes = [Block(width - stub, 0.3 + 0.8 * i, 0.12, 0.45, brand) for i in range(int(height / 0.8))]
    blocks = (Block(0, 0, width, 2.5, brand), *dashes)
    return Sheet(width, height, "sans", tint, "perforated", texts, blocks)


def business_card(rng: np.random.Generator) -> Sheet:
    """A business card: a logo, a name, few lines."""
    brand = _pick(rng, _BRANDS)
    width, height = 19.0, 11.0
    dark = rng.random() < 0.3
    paper, ink = (brand, (245, 245, 245)) if dark else (_pick(rng, _PAPERS), BLACK)
    texts = (
        Text(6.0, 1.8, f"{_pick(rng, CLERKS)} {_pick(rng, NAMES)}", "sans_bold", 11.5, 1.4, "left", ink),
        Text(6.0, 3.8, _pick(rng, _JOBS), "sans", 11.5, 1.0, "left", ink),
        Text(
            6.0,
            6.6,
            f"Tel 0{int(rng.integers(10, 99))} {int(rng.integers(10**5, 10**6))}",
            "sans",
            11.5,
            0.9,
            "left",
            ink,
        ),
        Text(6.0, 8.0, f"{_pick(rng, STREETS)}, {_pick(rng, CITIES)}", "sans", 11.5, 0.9, "left", ink),
    )
    mark = (235, 235, 235) if dark else brand
    logo = (Disc(3.2, 3.2, 1.6, mark),) if rng.random() < 0.5 else ()
    blocks = () if logo else (Block(1.4, 1.8, 3.2, 3.2, mark), Block(1.4, 5.8, 3.2, 0.4, mark))
    return Sheet(width, height, "sans", paper, "straight", texts, blocks, logo)


def mug(rng: np.random.Generator) -> Sheet:
    """A mug seen from above: rim, coffee or tea, a handle."""
    china = _pick(rng, ((235, 233, 228), (60, 90, 130), (170, 60, 50), (70, 120, 90), (225, 190, 90), (50, 50, 56)))
    drink = _pick(rng, ((58, 36, 22), (96, 58, 30), (150, 92, 44), (36, 24, 18)))
    side, centre = 12.0, 6.0
    shine = Disc(centre - 2.0, centre - 2.0, 0.55, _lighter(drink, 60))
    discs = (Disc(centre, centre, 5.3, _lighter(china, 14)), Disc(centre, centre, 4.8, drink), shine)
    return Sheet(15.6, side, "sans", china, "mug", (), (), discs)


def note(rng: np.random.Generator) -> Sheet:
    """A coloured note with a few written words."""
    paper, ink = _pick(rng, _NOTEPAPERS), (40, 40, 90)
    count = int(rng.integers(1, 4))
    order = rng.permutation(len(_NOTES))[:count]
    texts = tuple(
        Text(1.2, 1.6 + 2.4 * i, _NOTES[index], "pen", 9.2, 1.5, "left", ink) for i, index in enumerate(order)
    )
    return Sheet(11.6, 11.6, "pen", paper, "straight", texts)


def blank(rng: np.random.Generator) -> Sheet:
    """A sheet or strip of white paper with nothing on it, of a receipt's size; some are ruled."""
    width = float(rng.uniform(12, 20))
    height = width * float(rng.uniform(0.9, 2.6))
    ruled = rng.random() < 0.4
    lines = [Block(0, y, width, 0.08, (150, 176, 214)) for y in np.arange(2.0, height - 0.5, 1.6)] if ruled else []
    return Sheet(width, height, "sans", _pick(rng, _PAPERS), "straight", (), tuple(lines))


def envelope(rng: np.random.Generator) -> Sheet:
    """An envelope: an address, a stamp."""
    width, height = 30.0, 15.0
    paper: Colour = _pick(rng, ((246, 244, 238), (214, 186, 140), (226, 222, 214)))
    texts = tuple(
        Text(13.0, 7.0 + 1.5 * i, line, "pen", 15.0, 1.2)
        for i, line in enumerate(
            (_pick(rng, CLERKS) + " " + _pick(rng, NAMES), _pick(rng, STREETS), _pick(rng, CITIES))
        )
    )
    brand = _pick(rng, _BRANDS)
    blocks = (Block(25.0, 1.2, 3.4, 4.2, (250, 250, 246)), Block(25.4, 1.6, 2.6, 3.4, brand))
    return Sheet(width, height, "pen", paper, "straight", texts, blocks)


def list_note(rng: np.random.Generator) -> Sheet:
    """A handwritten list of things to do, no prices, on a narrow sheet: a receipt's shape without its sums."""
    column = Column("pen", "pen_bold", (30, 44, 120), margin=1.6)
    column.line("To do", size=1.5, strong=True)
    for index in rng.permutation(len(_NOTES))[: int(rng.integers(4, 8))]:
        column.line(f"- {_NOTES[index]}", size=1.3)
    return column.sheet(_pick(rng, _PAPERS), least_width=10.0)


# What people call it -> how it is drawn. The names appear in questions.
NEGATIVES: dict[str, Callable[[np.random.Generator], Sheet]] = {
    "letter": letter,
    "spreadsheet": spreadsheet,
    "ticket": ticket,
    "business card": business_card,
    "mug": mug,
    "sticky note": note,
    "blank sheet": blank,
    "envelope": envelope,
    "to-do list": list_note,
}


def _pick(rng: np.random.Generator, choices: Sequence[_T]) -> _T:
    return choices[int(rng.integers(len(choices)))]


def _lighter(colour: Colour, by: int) -> Colour:
    red, green, blue = (min(channel + by, 255) for channel in colour)
    return (red, green, blue)
