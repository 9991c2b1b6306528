"""The x axis of a comparison: steps, seconds or tokens, with labels that a person reads. Pure."""

from __future__ import annotations

from typing import Final

from tuimon.diagnosis.axes import Tick, XAxis, multiples, nice_step
from tuimon.diagnosis.figures import many
from tuimon.viewer.places.compare.model import Across
from tuimon.viewer.wanted import Window

WHOLE: Final = Window()
"""Nothing is left out."""
_TIMES: Final = (
    (1, "s", (1, 2, 5, 10, 20, 30)), (60, "min", (1, 2, 5, 10, 20, 30)), (3_600, "h", (1, 2, 3, 6, 12)),
    (86_400, "d", (1, 2, 5, 10, 20, 50, 100, 200, 500)),
)
"""Unit in seconds, its word, and the distances between labels."""


class Seconds(XAxis):
    """Counts the seconds since the first step."""

    def label(self, at: float) -> str:
        """In the largest unit of which there are three or more."""
        unit, word = next(((size, name) for size, name, _ in reversed(_TIMES) if at >= 3 * size), (1, "s"))
        return f"{at / unit:,.3g} {word}"

    def ticks(self, width: int) -> list[Tick]:
        """About one label in 12 cells."""
        least = (self.last - self.first) / max(1, width // 12)
        unit, word, step = next(
            ((size, name, count) for size, name, counts in _TIMES for count in counts if size * count >= least),
            (86_400, "d", nice_step(self.last / 86_400, max(1, width // 12))))
        return [Tick(at, f"{at / unit:,.0f} {word}" if at else "0") for at in multiples(self.first, self.last,
                                                                                       unit * step)]


class Tokens(XAxis):
    """Counts tokens."""

    def label(self, at: float) -> str:
        """In thousands, millions, billions."""
        return many(at)

    def ticks(self, width: int) -> list[Tick]:
        """About one label in 12 cells."""
        step = max(1.0, nice_step(self.last - self.first, max(1, width // 12)))
        return [Tick(at, self.label(at)) for at in multiples(self.first, self.last, step)]


def x_axis(across: Across, end: float, window: Window = WHOLE) -> XAxis:
    """From nothing to a little beyond `end`: the same one until the longest run outgrows it; or a stretch of it."""
    grown = XAxis(0, 1).grown(max(1.0, end))
    return {"step": XAxis, "time": Seconds, "tokens": Tokens}[across](*window.ends(grown.last, round(end)))
