"""Old points of a run, out of its log. Touches the disk; what cannot be read any more is absent."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from tuimon.record import log
from tuimon.record.batch import decode_many
from tuimon.record.chains import chains
from tuimon.record.joined import stacked
from tuimon.record.log import RowBlock
from tuimon.record.places import Page, Places
from tuimon.record.reader import bytes_at, increasing, segment_name
from tuimon.record.thinning import Series

if TYPE_CHECKING:
    from tuimon.record.ranks import RanksReader

KEPT_BYTES: Final = 24 << 20
"""Of pages that were looked at, so that moving on by a little is a matter of memory."""


class Archive:
    """The rows of one log, by the pages in which they lie."""

    def __init__(self, metrics: Path, places: Places, rank: int = 0, kept: int = KEPT_BYTES) -> None:
        """`places` is the index that the reader of the log fills; `kept`: bytes of pages."""
        self._metrics, self._rank, self._places, self._kept = metrics, rank, places, kept
        self._pages: OrderedDict[tuple[int, int, int], RowBlock] = OrderedDict()
        self._bytes = 0

    def cost(self, first: int, last: int) -> int:
        """Bytes of log to look through for the rows between two steps, inclusive."""
        return self._places.cost(first, last)

    def window(self, name: str, first: int, last: int) -> Series:
        """One metric between two steps, inclusive."""
        steps, values = [], []
        for page in self._places.between(first, last):
            block = self._block(page)
            if name not in block.columns:
                continue
            upto = min(page.last, last)
            a, b = np.searchsorted(block.steps, first), np.searchsorted(block.steps, upto, "right")
            there = block.present[name][a:b]
            steps.append(block.steps[a:b][there])
            values.append(block.columns[name][a:b][there])
        if not steps:
            return Series.empty()
        return Series(np.concatenate(steps), np.concatenate(values))

    def rows(self, first: int, last: int) -> RowBlock:
        """All metrics between two steps, inclusive."""
        parts = []
        for page in self._places.between(first, last):
            block = self._block(page)
            parts.append(block.where((block.steps >= first) & (block.steps <= min(page.last, last))))
        return stacked(parts)

    def _block(self, page: Page) -> RowBlock:
        key = (page.segment, page.begin, page.end)
        known = self._pages.pop(key, None)
        if known is None:
            known = self._read(page)
            self._bytes += _size(known)
            while self._bytes > self._kept and self._pages:
                _, gone = self._pages.popitem(last=False)
                self._bytes -= _size(gone)
        self._pages[key] = known
        return known

    def _read(self, page: Page) -> RowBlock:
        path = self._metrics / segment_name(page.segment, self._rank)
        data = (bytes_at(path, page.begin, page.end - page.begin) or b"")[: page.end - page.begin]
        starts, ends = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for chain in chains(data):
            if not isinstance(chain, int):
                rows = chain.kinds == log.ROWS
                starts.append(chain.starts[rows])
                ends.append(chain.ends[rows])
        found = decode_many(data, np.concatenate(starts), np.concatenate(ends)).block
        fresh = increasing(found.steps, page.after)
        return found if fresh.all() else found.where(fresh)


class RanksArchive:
    """The same of all ranks of a run together."""

    def __init__(self, metrics: Path, reader: RanksReader) -> None:
        """`reader` learns where the rows lie."""
        self._metrics, self._reader = metrics, reader
        self._ranks: list[Archive] = []
        self._known: tuple[tuple[int, int, int], RowBlock] | None = None
        """What was asked for last: one metric comes after the other."""

    def cost(self, first: int, last: int) -> int:
        """Bytes of log to look through for the rows between two steps, inclusive."""
        return sum(places.cost(first, last) for places in self._reader.places)

    def window(self, name: str, first: int, last: int) -> Series:
        """One metric between two steps, inclusive."""
        key = (first, last, self._reader.consumed)
        if self._known is None or self._known[0] != key:
            self._known = key, self._joined(first, last)
        block = self._known[1]
        if name not in block.columns:
            return Series.empty()
        there = block.present[name]
        return Series(block.steps[there], block.columns[name][there])

    def _joined(self, first: int, last: int) -> RowBlock:
        places = self._reader.places
        for rank in range(len(self._ranks), len(places)):
            self._ranks.append(Archive(self._metrics, places[rank], rank, KEPT_BYTES // len(places)))
        worlds, parts = self._reader.worlds, []
        for i, (after, joiner) in enumerate(worlds):
            until = worlds[i + 1][0] if i + 1 < len(worlds) else last
            low, high = max(first, after + 1 if i else first), min(last, until)
            if low <= high:
                parts.append(joiner.again().join([one.rows(low, high) for one in self._ranks[:joiner.world]]))
        return stacked(parts)


def _size(block: RowBlock) -> int:
    return len(block.steps) * (16 + 9 * len(block.columns))
