"""What is shown of the console: made in the feed's thread, out of console.log. Touches the disk; only ever reads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tuimon.record.console import ConsoleReader
from tuimon.viewer.places.console.line import Shown, show
from tuimon.viewer.places.console.model import MARGIN, Ask, ConsoleView
from tuimon.viewer.places.console.search import Search

if TYPE_CHECKING:
    from tuimon.viewer.reading import Reading
    from tuimon.viewer.wanted import Wanted


class Detail:
    """The console of one run."""

    def __init__(self) -> None:
        self._reader: ConsoleReader | None = None
        self._search: Search | None = None
        self._shown: dict[int, Shown] = {}
        """Lines of the last answer that had ended: they do not change."""
        self._generation = -1
        self.is_behind = False
        """Whether another update would show more at once."""

    def update(self, reading: Reading, wanted: Wanted, now: float, mono: float) -> ConsoleView:
        """The lines around where one looks. Never raises for bad data."""
        del now, mono
        ask = wanted.ask if isinstance(wanted.ask, Ask) else Ask()
        run = reading.run
        if self._reader is None or self._reader.path != run.console:
            self.close()
            self._reader = ConsoleReader(run.console)
        return self._view(self._reader, ask, launched=os.path.lexists(run.launch_json))

    def close(self) -> None:
        """Give the file back."""
        if self._reader is not None:
            self._reader.close()
        self._reader = self._search = None

    def _view(self, reader: ConsoleReader, ask: Ask, *, launched: bool) -> ConsoleView:
        reader.poll()
        self.is_behind = reader.is_behind
        if not reader.lines:
            self._search = None
            return ConsoleView("missing" if launched or reader.exists else "elsewhere", generation=reader.generation)
        if reader.is_behind:
            return ConsoleView("reading", reader.lines, reader.size, generation=reader.generation)
        found = None
        if not ask.pattern:
            self._search = None
        else:
            search = self._search
            if search is None or (search.pattern, search.generation) != (ask.pattern, reader.generation):
                search = self._search = Search(ask.pattern, reader)
            self.is_behind = search.advance()
            found = search.found(ask.jump, ask.mark)
        top = ask.top
        if found is not None and ask.jump is not None and found.serial == ask.jump.serial and found.line is not None:
            top = found.line   # that is where the screen will go
        first, lines = self._lines(reader, ask, top)
        return ConsoleView("ready", reader.lines, reader.size, first, lines, found, reader.generation)

    def _lines(self, reader: ConsoleReader, ask: Ask, top: int | None) -> tuple[int, tuple[Shown, ...]]:
        rows = max(1, min(ask.rows, 1_000))
        newest = max(0, reader.lines - (MARGIN + 1) * rows)
        first = newest if top is None else max(0, min(top - MARGIN * rows, newest))
        known = self._shown if self._generation == reader.generation else {}
        lines = tuple(
            known.get(number) or show(raw, length)
            for number, (raw, length) in enumerate(reader.read(first, (2 * MARGIN + 1) * rows), first))
        self._shown = dict(zip(range(first, reader.complete), lines, strict=False))
        self._generation = reader.generation
        return first, lines
