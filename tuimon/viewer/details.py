"""What a place shows beyond the common frame: producers that live in the feed's thread. Touches what they touch.

A producer is made at the first visit and kept until the viewer ends. One that fails is left out, and the frame says so:
it takes neither the charts nor the other places with it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from tuimon.viewer.places import PLACES, loaded
from tuimon.viewer.text import clean
from tuimon.viewer.wanted import Place, Wanted

if TYPE_CHECKING:
    from tuimon.viewer.reading import Reading


class Detail(Protocol):
    """Reads and computes for one place."""

    def update(self, reading: Reading, wanted: Wanted, now: float, mono: float) -> object:
        """What is shown now: a frozen value; equal values are not drawn again. now, mono: seconds."""

    def close(self) -> None:
        """Give back what it holds."""


class Details:
    """The producers of the places that have been visited."""

    def __init__(self) -> None:
        self._known: dict[Place, Detail | None] = {}
        self.problem = ""
        self.is_behind = False
        """Whether the place in front would show more at once."""

    def of(self, reading: Reading, wanted: Wanted, now: float, mono: float) -> object:
        """The detail of the place in front; None where it has none."""
        place, self.is_behind = wanted.place, False
        try:
            if place not in self._known:
                name = PLACES[place].detail
                self._known[place] = loaded(name)() if name else None
            detail = self._known[place]
            found = None if detail is None else detail.update(reading, wanted, now, mono)
        except Exception as error:
            # The outermost frame of a place: what the others show stays.
            self.problem = f"{PLACES[place].title} cannot be shown: {clean(repr(error), 120)}"
            return None
        self.problem, self.is_behind = "", getattr(detail, "is_behind", False)
        return found

    def close(self) -> None:
        """End all of them."""
        for detail in self._known.values():
            if detail is not None:
                with contextlib.suppress(Exception):   # one that cannot end must not keep the others
                    detail.close()
        self._known.clear()
