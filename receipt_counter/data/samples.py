"""A sheet of sample images, each with its count and one of its questions: the dataset at a glance."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw
from PIL.ImageFont import FreeTypeFont

from receipt_counter.data.example import Example
from receipt_counter.data.faces import truetype

COLUMNS, ROWS = 5, 3
_TILE = 300  # px, the square an image is fitted into
_GAP = 28
_MARGIN = 40
_TITLE = 70
_CAPTION = 132
_INK, _FAINT, _ACCENT, _MAT = (33, 37, 41), (108, 117, 125), (13, 92, 99), (241, 243, 245)


def sample_sheet(examples: Sequence[Example], title: str) -> Image.Image:
    """Draw a sheet of examples: a row for each count class, where there are enough of it.

    Args:
        examples: at least one; the same ones always give the same sheet.
        title: what to write above.

    Returns:
        An RGB image.
    """
    chosen = choose(examples)
    rows = -(-len(chosen) // COLUMNS)
    width = 2 * _MARGIN + COLUMNS * _TILE + (COLUMNS - 1) * _GAP
    height = _MARGIN + _TITLE + rows * (_TILE + _CAPTION)
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, _MARGIN - 8), title, _INK, truetype("sans", 34))
    for position, example in enumerate(chosen):
        row, column = divmod(position, COLUMNS)
        x, y = _MARGIN + column * (_TILE + _GAP), _MARGIN + _TITLE + row * (_TILE + _CAPTION)
        pen.rectangle((x, y, x + _TILE - 1, y + _TILE - 1), _MAT)
        picture = _fitted(example)
        sheet.paste(picture, (x + (_TILE - picture.width) // 2, y + (_TILE - picture.height) // 2))
        _caption(pen, x, y + _TILE + 10, example, position)
    return sheet


def choose(examples: Sequence[Example]) -> list[Example]:
    """Pick the examples of a sheet: as many of 0, of 1 and of 2 or more receipts, spread over the dataset."""
    classes = [[example for example in examples if min(example.count, 2) == i] for i in range(3)]
    chosen = [example for members in classes for example in _spread(members, COLUMNS)]
    rest = [example for example in examples if example not in chosen]
    return chosen + _spread(rest, COLUMNS * ROWS - len(chosen))


def _spread(examples: Sequence[Example], wanted: int) -> list[Example]:
    if len(examples) <= wanted:
        return list(examples)
    return [examples[i * len(examples) // wanted] for i in range(wanted)]


def _fitted(example: Example) -> Image.Image:
    with Image.open(example.image) as image:
        picture = image.convert("RGB")
    scale = _TILE / max(picture.size)
    size = max(round(picture.width * scale), 1), max(round(picture.height * scale), 1)
    return picture.resize(size, Image.Resampling.LANCZOS)


def _caption(pen: ImageDraw.ImageDraw, x: float, y: float, example: Example, position: int) -> None:
    """The count, and one question with its answer; neighbours show different ones."""
    question = example.questions[position % len(example.questions)]
    heading = f"{example.count or 'no'} receipt{'' if example.count == 1 else 's'}"
    pen.text((x, y), heading, _ACCENT, truetype("sans_bold", 20))
    y += 27
    for text, colour in ((question.question, _FAINT), (question.answer, _INK)):
        font = truetype("sans", 17)
        for line in _wrapped(text, font, _TILE, most_lines=2):
            pen.text((x, y), line, colour, font)
            y += 20


def _wrapped(text: str, font: FreeTypeFont, width: float, most_lines: int) -> list[str]:
    """Break a text into lines; what does not fit ends in an ellipsis."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        elif len(lines) < most_lines:
            lines.append(word)
        else:
            lines[-1] += " …"
            break
    return [_cut(line, font, width) for line in lines]


def _cut(line: str, font: FreeTypeFont, width: float) -> str:
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line}…"
