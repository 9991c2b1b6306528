"""Old points of a run, out of its log. Touches the disk; what cannot be read any more is absent."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Final

import numpy as np

from tuimon.record import log
from tuimon.record.batch import decode_many
from tuimon.record.chains import chains
from tuimon.record.log import RowBlock
from tuimon.record.places import Page, Places
from tuimon.record.reader import bytes_at, increasing, segment_name
from tuimon.record.thinning import Series

KEPT_BYTES: Final = 24 << 20
"""Of pages that were looked at, so that moving on by a little is a matter of memory."""


class Archive:
    """The rows of one log, by the pages in which they lie."""

    def __init__(self, metrics: Path, places: Places, rank: int = 0) -> None:
        """`places` is the index that the reader of the log fills."""
        self._metrics, self._rank, self._places = metrics, rank, places
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

    def _block(self, page: Page) -> RowBlock:
        key = (page.segment, page.begin, page.end)
        known = self._pages.pop(key, None)
        if known is None:
            known = self._read(page)
            self._bytes += _size(known)
            while self._bytes > KEPT_BYTES and self._pages:
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


def _size(block: RowBlock) -> int:
    return len(block.steps) * (16 + 9 * len(block.columns))
