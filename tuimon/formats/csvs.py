"""Tables with a header line: comma, semicolon or tab separated; Lightning's `metrics.csv` is one. Touches the disk."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain
from typing import Final

from tuimon.errors import LogError
from tuimon.formats import stored
from tuimon.formats.cells import number
from tuimon.formats.names import STEP, metric_of
from tuimon.formats.table import Table, TableBuilder

ROWS: Final = 1 << 14
"""Rows that are taken in at once."""


class _Source:
    """Lines for the csv module, and what is known about the last one."""

    def __init__(self, path: str) -> None:
        self._blocks = stored.lines(path)
        self.torn = self.cut = False

    def __iter__(self) -> Iterator[str]:
        for block in self._blocks:
            self.torn, self.cut = block.torn, block.cut
            for line in block.lines:
                yield line + "\n"


def read_csv(path: str) -> Table:
    """A table out of a CSV file. LogError with line and column for what is wrong in it."""
    source = _Source(path)
    lines = iter(source)
    above, first = 0, ""
    for above, first in enumerate(lines):  # noqa: B007 - the number of blank lines above the header
        if first.strip():
            break
    if not first.strip():
        raise LogError("is empty")
    builder, reader = TableBuilder(), csv.reader(chain([first], lines), delimiter=delimiter(first))
    rows: list[list[str]] = []
    at: list[int] = []
    try:
        names = next(reader)
        width, taken = len(names), _taken(names, above + 1, builder)
        for row in reader:
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if len(rows) == ROWS:
                _take(builder, rows, at, width, taken)
                rows, at = [], []
            rows.append(row)
            at.append(above + reader.line_num)
    except csv.Error as error:
        raise LogError(f"line {above + reader.line_num}: {error}") from None
    if rows and source.torn and (source.cut or _is_torn(rows, width, taken)):
        builder.notes.append(f"line {at.pop()} is torn, as in a file that is still being written: left out")
        rows.pop()
    _take(builder, rows, at, width, taken)
    return builder.table()


def delimiter(header: str) -> str:
    """What separates the names in a header line."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max((",", ";", "\t"), key=bare.count)


def _taken(names: list[str], line: int, builder: TableBuilder) -> dict[str, int]:
    """The columns that are read: name -> index. LogError where these are no names."""
    try:
        for name in names:
            float(name)
    except ValueError:
        pass
    else:
        raise LogError(f"line {line}: wanted the names of the columns, found numbers")
    taken: dict[str, int] = {}
    for i, name in enumerate(names):
        if name in taken:
            builder.notes.append(f"column {name[:40]!r} stands twice: the first is read")
        elif builder.takes(name):
            taken[name] = i
    return taken


def _take(builder: TableBuilder, rows: list[list[str]], at: list[int], width: int, taken: dict[str, int]) -> None:
    if set(map(len, rows)) - {width}:
        for i, row in enumerate(rows):
            if len(row) < width or any(cell.strip() for cell in row[width:]):
                raise LogError(f"line {at[i]}: {len(row)} fields, but the header names {width}")
            del row[width:]
    cells = list(zip(*rows, strict=True))
    builder.add(
        {name: cells[i] if rows else () for name, i in taken.items()}, len(rows),
        lambda row, name: f"line {at[row]}, column {name[:40]!r}",
    )


def _is_torn(rows: list[list[str]], width: int, taken: dict[str, int]) -> bool:
    """Whether the last row, which no line end closes, is but the beginning of one."""
    last = rows[-1]
    if len(last) < width:
        return True
    try:
        found = {name: number(last[i]) for name, i in taken.items()}
        if len(rows) < 2 or taken.get(last_column := next((n for n, i in taken.items() if i == width - 1), "")) is None:
            return False
        before = number(rows[-2][width - 1])
    except ValueError:
        return True
    is_step = (metric_of(last_column) or ("", 0))[0] == STEP
    now = found[last_column]
    return is_step and now is not None and before is not None and now < before
