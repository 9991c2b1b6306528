"""Tables with a header line: comma, semicolon or tab separated; Lightning's `metrics.csv` is one. Touches the disk.

Rows are taken in a block at a time. Without a quote a block is split at its separators at once; from the first quote on
the csv module reads, four times slower.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from tuimon.errors import LogError
from tuimon.formats import stored
from tuimon.formats.cells import number
from tuimon.formats.progress import Watch, unwatched
from tuimon.formats.stored import Lines
from tuimon.formats.table import Table, TableBuilder

ROWS: Final = 1 << 14
"""Quoted rows that are taken in at once."""
COLUMNS: Final = 100_000
"""Of a table, at most: five for each layer that is read."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the header says."""

    separator: str
    names: list[str]
    taken: dict[str, int]
    """The columns that are read: name -> index."""

    @property
    def width(self) -> int:
        """How many fields a row has."""
        return len(self.names)


def read_csv(path: str, watch: Watch = unwatched) -> Table:
    """A table out of a CSV file. LogError with line and column for what is wrong in it."""
    builder, blocks = TableBuilder(), stored.lines(path, watch)
    at, shape, rest = _header(blocks, builder)
    blocks = chain([rest], blocks)
    for block in blocks:
        if any('"' in line for line in block.lines):
            _take_quoted(chain([block], blocks), shape, builder)
            break
        if block.torn and (block.cut or _is_torn(block.lines[-1].split(shape.separator), shape)):
            builder.notes.append(stored.torn(f"line {block.first}"))
        else:
            _take_plain(block, shape, builder)
    if not builder.rows:
        builder.notes.append(f"nothing follows the header in line {at}")
    return builder.table()


def _header(blocks: Iterable[Lines], builder: TableBuilder) -> tuple[int, _Shape, Lines]:
    """The line that the header stands in, what it says, and what follows it in its block."""
    for block in blocks:
        for i, line in enumerate(block.lines):
            if not line.strip():
                continue
            separator = delimiter(line)
            if line.count(separator) >= COLUMNS:
                raise LogError(f"line {block.first + i}: more than {COLUMNS:,} columns")
            try:
                names = next(csv.reader([line], delimiter=separator))
            except csv.Error as error:
                raise LogError(f"line {block.first + i}: {_short(error)}") from None
            shape = _Shape(separator, names, _taken(names, block.first + i, builder))
            return block.first + i, shape, Lines(block.first + i + 1, block.lines[i + 1:], torn=False)
    raise LogError("is empty")


def _short(error: csv.Error) -> str:
    return str(error).split(" - ", 1)[0]  # the csv module goes on with advice for programmers


def delimiter(header: str) -> str:
    """What separates the names in a header line."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max((",", ";", "\t"), key=bare.count)


def _taken(names: Sequence[str], line: int, builder: TableBuilder) -> dict[str, int]:
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


def _take_plain(block: Lines, shape: _Shape, builder: TableBuilder) -> None:
    """Rows without a quote: all cells of a block in one list, of which a column is every width-th."""
    lines: Sequence[str] = block.lines
    at: Sequence[int] = range(block.first, block.first + len(lines))
    counts = {line.count(shape.separator) for line in lines}
    if counts - {shape.width - 1} or "" in lines or shape.separator.join(shape.names) in lines:
        at = [block.first + i for i, line in enumerate(lines) if line and not line.isspace()]
        rows = [block.lines[i - block.first].split(shape.separator) for i in at]
        _take_rows(rows, at, shape, builder)
        return
    cells = shape.separator.join(lines).split(shape.separator) if lines else []
    builder.add(
        {name: cells[i::shape.width] for name, i in shape.taken.items()}, len(lines),
        lambda row, name: f"line {at[row]}, column {name[:40]!r}",
    )


def _take_quoted(blocks: Iterable[Lines], shape: _Shape, builder: TableBuilder) -> None:
    """Rows as the csv module reads them; a quoted cell may hold separators and line ends."""
    last = start = None

    def lines() -> Iterator[str]:
        nonlocal last, start
        for block in blocks:
            last, start = block, block.first if start is None else start
            for line in block.lines:
                yield line + "\n"

    reader = csv.reader(lines(), delimiter=shape.separator)
    rows: list[list[str]] = []
    at: list[int] = []
    try:
        for row in reader:
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if len(rows) == ROWS:
                _take_rows(rows, at, shape, builder)
                rows, at = [], []
            rows.append(row)
            at.append((start or 0) + reader.line_num - 1)
    except csv.Error as error:
        raise LogError(f"line {(start or 0) + reader.line_num - 1}: {_short(error)}") from None
    if rows and last is not None and last.torn and (last.cut or _is_torn(rows[-1], shape)):
        builder.notes.append(stored.torn(f"line {at.pop()}"))
        rows.pop()
    _take_rows(rows, at, shape, builder)


def _take_rows(rows: list[list[str]], at: Sequence[int], shape: _Shape, builder: TableBuilder) -> None:
    if shape.names in rows:  # a program that was started again and appends
        kept = [i for i, row in enumerate(rows) if row != shape.names]
        builder.notes.append("the header stands in it again: passed over")
        rows, at = [rows[i] for i in kept], [at[i] for i in kept]
    for i, row in enumerate(rows):
        if len(row) != shape.width:
            if len(row) < shape.width or any(cell.strip() for cell in row[shape.width:]):
                raise LogError(f"line {at[i]}: {len(row)} fields, but the header names {shape.width}")
            del row[shape.width:]
    cells = list(zip(*rows, strict=True))
    builder.add(
        {name: cells[i] if rows else () for name, i in shape.taken.items()}, len(rows),
        lambda row, name: f"line {at[row]}, column {name[:40]!r}",
    )


def _is_torn(row: Sequence[str], shape: _Shape) -> bool:
    """Whether the last row, which no line end closes, is but the beginning of one."""
    if len(row) < shape.width:
        return bool(row) and bool("".join(row).strip())
    try:
        for i in shape.taken.values():
            number(row[i])
    except ValueError:
        return True
    return False

