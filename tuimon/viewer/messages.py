"""What screens tell the app. A widget never reaches for the app; it says what its person wants."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from textual.message import Message

from tuimon.viewer.settings import Layout, Value
from tuimon.viewer.wanted import Place

LEAVE: Final = "leave"
END: Final = "end"
"""What the app returns: its person has gone, and the run goes on; or the run is to be ended."""


class Asked(Message):
    """The place in front wants something else of the feed."""

    def __init__(self, place: Place, ask: object) -> None:
        super().__init__()
        self.place: Place = place
        self.ask = ask


class GoTo(Message):
    """To another place; `ask` is what it is to show there."""

    def __init__(self, place: Place, ask: object = None) -> None:
        super().__init__()
        self.place: Place = place
        self.ask = ask


class OpenRun(Message):
    """Another run in this panel."""

    def __init__(self, path: Path, place: Place = "overview") -> None:
        super().__init__()
        self.path = path
        self.place: Place = place


class Prefers(Message):
    """A preference was chosen: it counts at once, and is kept."""

    def __init__(self, key: str, value: Value | None) -> None:
        """None: as it is by itself."""
        super().__init__()
        self.key = key
        self.value = value


class Remembers(Message):
    """The panel was arranged anew: the next one is to begin like that."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout


class ScrubTo(Message):
    """The whole panel as it was at a step; None: as it is now."""

    def __init__(self, step: int | None) -> None:
        super().__init__()
        self.step = step
