"""CSV files that people made: everything that is wrong with them, with file and line."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from receipt_counter.errors import UserError, suggestion


@dataclass(frozen=True)
class Row:
    """A row: its values by column, without surrounding blanks.

    Attributes:
        file: the table.
        line: where the row ends, counted from 1.
        values: {column: text}; optional columns that the table does not have are empty.
    """

    file: Path
    line: int
    values: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values[column]

    @property
    def place(self) -> str:
        """What messages about this row begin with."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Table:
    """The rows that have the right number of values, and what is wrong with the others."""

    rows: list[Row]
    problems: list[str]


def read_table(file: Path, *, required: Sequence[str], optional: Sequence[str] = ()) -> Table:
    """Read a CSV file with a header.

    Args:
        file: UTF-8, with or without a byte-order mark; separated by commas.
        required: columns it must have, in any order.
        optional: columns it may have.

    Raises:
        UserError: it cannot be read at all, or its columns are wrong.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: is not UTF-8 text (byte {error.start}); save it as CSV UTF-8") from error
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    rows, problems = [], []
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_columns(file, header, required, optional)
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            if len(values) != len(header):
                problems.append(f"{file}:{reader.line_num}: {len(values)} values for {len(header)} columns")
                continue
            found = dict.fromkeys(optional, "")
            found |= {name: value.strip() for name, value in zip(header, values, strict=True)}
            rows.append(Row(file, reader.line_num, found))
    except csv.Error as error:
        problems.append(f"{file}:{reader.line_num}: is not valid CSV: {error}")
    if not rows and not problems:
        problems.append(f"{file}: has no rows")
    return Table(rows, problems)


def _check_columns(file: Path, header: Sequence[str], required: Sequence[str], optional: Sequence[str]) -> None:
    valid = [*required, *optional]
    problems = []
    for name in header:
        if name not in valid:
            problems.append(f"{file}:1: unknown column {name!r}: {suggestion(name.lower(), valid)}")
    problems += [
        f"{file}:1: column {name!r} stands there twice" for name in sorted({n for n in header if header.count(n) > 1})
    ]
    problems += [f"{file}:1: column {name!r} is missing" for name in required if name not in header]
    if problems:
        raise UserError("\n".join(problems))
