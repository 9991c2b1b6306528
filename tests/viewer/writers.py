"""Writers of tests give their files back when nothing holds them any more: a worker that runs hundreds of tests is one process."""

from __future__ import annotations

from tuimon.record import events, segments
from tuimon.record.console import ConsoleReader as _ConsoleReader


class LogWriter(segments.LogWriter):
    """Of metrics."""

    def __del__(self) -> None:
        self.close()


class EventWriter(events.EventWriter):
    """Of what happened."""

    _fd = -1   # where it could not be opened

    def __del__(self) -> None:
        self.close()


class ConsoleReader(_ConsoleReader):
    """Of what was printed."""

    def __del__(self) -> None:
        self.close()
