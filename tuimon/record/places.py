"""Where in a log the rows of a stretch of steps lie. Pure.

Frames that follow each other in a segment make a page of about 64 kB; of each page it is known which steps it holds
that still count. A long log is divided into larger pages, so that the index stays small whatever its length.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tuimon.record.chunk import Ints

PAGE_BYTES: Final = 64 << 10
MOST_PAGES: Final = 1 << 16
"""More are joined in pairs: 2.5 MB at most, 4 GB of log at pages of 64 kB."""
LARGEST_PAGE: Final = 64 << 20
"""No segment is longer."""
_FIELDS: Final = 5


@dataclass(frozen=True, slots=True)
class Page:
    """Some bytes of one segment, and the steps for which they count: those above `after`, up to `last`."""

    segment: int
    begin: int
    end: int
    after: int
    last: int


@dataclass(slots=True)
class Places:
    """The pages of one log, in the order in which they were read."""

    page_bytes: int = PAGE_BYTES
    _pages: Ints = field(default_factory=lambda: np.zeros((256, _FIELDS), np.int64))
    """(capacity, 5): segment, begin, end, after, last."""
    _count: int = 0

    @staticmethod
    def few() -> Places:
        """An index that begins small: one of many."""
        return Places(4 * PAGE_BYTES, np.zeros((8, _FIELDS), np.int64))

    @property
    def table(self) -> Ints:
        """(p, 5): segment, begin, end, after, last of each page. Not to be changed."""
        return self._pages[: self._count]

    @staticmethod
    def of(table: Ints, page_bytes: int) -> Places:
        """An index as `table` handed it out."""
        return Places(page_bytes, np.array(table, np.int64).reshape(-1, _FIELDS), len(table))

    def add(self, segment: int, begin: Ints, end: Ints, after: int, last: Ints) -> None:
        """Take in frames of one segment: their bytes, and the last step that was known after each; all (f,)."""
        at = 0
        while at < len(begin):
            page = self._pages[self._count - 1] if self._count else None
            goes_on = (page is not None and page[0] == segment and page[4] == after
                       and end[at] - page[1] <= self.page_bytes)
            start = int(page[1]) if page is not None and goes_on else int(begin[at])
            upto = max(at + 1, int(np.searchsorted(end, start + self.page_bytes, "right")))
            if page is not None and goes_on:
                page[2], page[4] = end[upto - 1], last[upto - 1]
            elif last[upto - 1] > after:
                self._append(segment, int(begin[at]), int(end[upto - 1]), after, int(last[upto - 1]))
            after, at = int(last[upto - 1]), upto

    def supersede(self, after: int) -> None:
        """Forget what lies after a step: a resumed attempt does it again."""
        table = self.table
        self._count = int(np.searchsorted(table[:, 3], after))
        if self._count:
            self._pages[self._count - 1, 4] = min(after, int(self._pages[self._count - 1, 4]))

    def between(self, first: int, last: int) -> list[Page]:
        """The pages that hold steps from `first` to `last`, inclusive, in order."""
        table = self.table
        a = int(np.searchsorted(table[:, 4], first))
        b = int(np.searchsorted(table[:, 3], last))
        return [Page(*row) for row in table[a:b].tolist()]

    def cost(self, first: int, last: int) -> int:
        """Bytes of those pages."""
        table = self.table
        a = int(np.searchsorted(table[:, 4], first))
        b = int(np.searchsorted(table[:, 3], last))
        return int((table[a:b, 2] - table[a:b, 1]).sum())

    def _append(self, *page: int) -> None:
        while self._count >= MOST_PAGES and self.page_bytes < LARGEST_PAGE:
            self._join()
        if self._count == len(self._pages):
            grown = np.zeros((max(8, 2 * self._count), _FIELDS), np.int64)
            grown[: self._count] = self._pages
            self._pages = grown
        self._pages[self._count] = page
        self._count += 1

    def _join(self) -> None:
        """Pairs that follow each other become one page."""
        self.page_bytes *= 2
        joined: list[list[int]] = []
        for page in self.table.tolist():
            before = joined[-1] if joined else None
            if (before is not None and before[0] == page[0] and before[4] == page[3]
                    and page[2] - before[1] <= self.page_bytes):
                before[2], before[4] = page[2], page[4]
            else:
                joined.append(page)
        self._pages, self._count = np.array(joined, np.int64), len(joined)
