"""Columns as they stand in a file, row by row, and how blocks of them become one table. Pure.

A file is read in blocks; a column may begin in any of them. Rows are in the file's order: sorting is `assemble`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

import numpy as np

from tuimon.errors import LogError
from tuimon.formats.cells import numbers, whole
from tuimon.formats.names import NESTED, STEP, layer_of_column, metric_of, some
from tuimon.record.chunk import Bools, Floats, Ints

MAX_VALUES: Final = 50_000_000
"""Cells of known columns that are held: 450 MB."""
MAX_BLOCK: Final = 20_000_000
"""Keys times rows of records that are taken in at once."""
MAX_LAYERS: Final = 20_000
MAX_ALIKE: Final = 64
"""Columns that may stand for one metric, the first that many."""
EVENT: Final = "tuimon_event"
"""Key of a record of our own exports that tells what happened, and is no row."""
Column = tuple[Floats, Bools]
Where = Callable[[int, str], str]
"""(row of the block, column) -> the place in the file, in words."""
LayerKey = tuple[str, str]
"""(kind as in `names.KINDS`, layer)."""


@dataclass(slots=True)
class Table:
    """n rows of what is known."""

    rows: int
    columns: dict[str, Column]
    """Raw name -> values (n,) and whether each was measured (n,). Only names that mean a metric, step or time."""
    layers: dict[LayerKey, tuple[Ints, Floats]]
    """Per layer: rows in which it was measured (m,) ascending, and the values (m,)."""
    unknown: tuple[str, ...] = ()
    """Some of the columns that mean nothing to us."""
    notes: list[str] = field(default_factory=list)


class TableBuilder:
    """Takes blocks of rows; `table` joins them."""

    def __init__(self) -> None:
        self._blocks: list[tuple[int, dict[str, Column]]] = []
        self._layers: dict[LayerKey, list[tuple[Ints, Floats]]] = {}
        self._columns: set[str] = set()
        self._alike: Counter[str] = Counter()
        self._unknown: dict[str, None] = {}
        self._odd: dict[str, None] = {}
        """Columns that hold something per layer, of which we do not know what."""
        self._values = 0
        self.rows = 0
        self.notes: list[str] = []

    def takes(self, name: str) -> bool:
        """Whether a column means anything to us; remembers some of those that do not."""
        if name in self._columns:
            return True
        found = metric_of(name)
        if found or layer_of_column(name):
            alike = found[0] if found else ""
            self._alike[alike] += 1
            if self._alike[alike] <= (MAX_ALIKE if found else MAX_LAYERS):
                self._columns.add(name)
                return True
            return False
        if len(self._unknown) < 64:
            self._unknown[name] = None
        return False

    def add(self, columns: Mapping[str, Sequence[Any]], count: int, where: Where) -> None:
        """Take in `count` rows, column by column; a column that means nothing is passed over.

        LogError, at `where(row of the block, column)`, for what is no number.
        """
        every = np.arange(count)
        self.add_sparse({name: (every, values) for name, values in columns.items()}, count, where)

    def add_sparse(self, columns: Mapping[str, tuple[Ints, Sequence[Any]]], count: int, where: Where) -> None:
        """Take in `count` rows of columns that stand in few of them: name -> (rows, values). LogError as for `add`."""
        block: dict[str, Column] = {}
        for name, (at, values) in columns.items():
            if self.takes(name):
                self._put(block, name, values, at, count, where)
        self._blocks.append((count, block))
        self.rows += count

    def add_records(self, records: Sequence[Mapping[str, Any]], where: Where) -> None:
        """Take in rows as objects; an object within a row counts as columns "outer/inner". LogError as for `add`.

        Where a column is known to be one per layer, a list counts as an object, too.
        """
        count, every = len(records), np.arange(len(records))
        block: dict[str, Column] = {}
        names = dict.fromkeys(chain.from_iterable(records))
        names.pop(EVENT, None)
        _check_sparse(len(names), count, where(0, next(iter(names), "")) if count else "")
        for name in names:
            try:
                values = [record[name] for record in records]
            except KeyError:
                values = [record.get(name) for record in records]
            kinds = set(map(type, values))
            if list in kinds and name in NESTED:
                values = [_numbered(value) if type(value) is list else value for value in values]
                kinds = set(map(type, values))
            if name.startswith("layer_") and name not in NESTED and kinds & {dict, list} and len(self._odd) < 64:
                self._odd[name] = None
            if dict in kinds:
                self._put_within(block, name, values, count, where)
                values = [None if type(value) is dict else value for value in values]
            if (name not in NESTED or (metric_of(name) and kinds != {dict})) and self.takes(name):
                self._put(block, name, values, every, count, where)
        self._blocks.append((count, block))
        self.rows += count

    def _put_within(
        self, block: dict[str, Column], name: str, values: Sequence[Any], count: int, where: Where,
    ) -> None:
        """What stands in the objects among the values of one column."""
        at = [i for i, value in enumerate(values) if type(value) is dict]
        within = np.array(at, np.int64)
        outer = NESTED.get(name, name)
        keys = dict.fromkeys(key for i in at for key in values[i])
        _check_sparse(len(keys), len(at), where(at[0], name))
        for key in keys:
            if self.takes(f"{outer}/{key}"):
                self._put(block, f"{outer}/{key}", [values[i].get(key) for i in at], within, count, where)

    def _put(
        self, block: dict[str, Column], name: str, values: Sequence[Any], at: Ints, count: int, where: Where,
    ) -> None:
        """One column of a block of `count` rows: `values` stand in its rows `at`."""
        def place(i: int) -> str:
            return where(int(at[i]), name)

        array, present = numbers(values, place)
        found = metric_of(name)
        if found is None:
            layer = layer_of_column(name)
            assert layer is not None
            self._count(int(present.sum()))
            self._layers.setdefault(layer, []).append((self.rows + at[present], array[present]))
            return
        self._count(count)
        if found[0] == STEP:
            whole(array, present, place)
        if len(at) < count:
            full = (np.full(count, np.nan), np.zeros(count, np.bool_))
            full[0][at], full[1][at] = array, present
            array, present = full
        block[name] = (array, present)

    def _count(self, more: int) -> None:
        self._values += more
        if self._values > MAX_VALUES:
            raise LogError(f"more than {MAX_VALUES:,} values: more than is read at once")

    def table(self) -> Table:
        """All rows so far."""
        names = dict.fromkeys(name for _, block in self._blocks for name in block)
        self._count(len(names) * self.rows - self._values)
        columns = {}
        for name in names:
            parts = [
                block.get(name) or (np.full(count, np.nan), np.zeros(count, np.bool_)) for count, block in self._blocks
            ]
            columns[name] = (np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]))
        layers = {
            key: (np.concatenate([r for r, _ in parts]), np.concatenate([v for _, v in parts]))
            for key, parts in self._layers.items()
        }
        odd = [f"{some(self._odd)}: not known, and left out"] if self._odd else []
        return Table(self.rows, columns, layers, tuple(self._unknown), [*self.notes, *odd])


def _numbered(values: list[Any]) -> dict[str, Any]:
    """A list of a value per layer as an object."""
    return {f"layers.{i}": value for i, value in enumerate(values)}


def _check_sparse(keys: int, rows: int, place: str) -> None:
    """A block of text holds few keys times rows, unless every row has keys of its own: that is no table."""
    if keys * rows > MAX_BLOCK:
        raise LogError(f"{place}: from here on, {keys:,} different keys in {rows:,} rows: not a table")
