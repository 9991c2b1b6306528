"""When a run was calm: the steps from which the layers' usual is learned. Pure.

What is measured while something is wrong is no measure of what is usual. What comes once that is over is: a rescued
run goes on at another learning rate, and need not come back to where it was before.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from tuimon.diagnosis.model import Incident
from tuimon.record.chunk import Floats, Ints

WITHIN: Final = ("gradients", "layers", "updates", "numerics", "activations")
"""Categories of incidents that show inside the model."""
FEWEST: Final = 3
"""Rows of a calm stretch that tell what is usual: activations are measured every 8 to 32 steps."""


class Calm(NamedTuple):
    """Steps in which nothing was wrong."""

    since: int
    until: int | None
    """The onset that ended it; None: it lasts."""

    def within(self, steps: Ints | Floats) -> tuple[int, int]:
        """First and end of the rows of these steps that lie in it."""
        end = len(steps) if self.until is None else int(np.searchsorted(steps, self.until))
        return int(np.searchsorted(steps, self.since)), end


def calm(incidents: Iterable[Incident]) -> tuple[Calm, ...]:
    """All of them, oldest first; the first begins with the run, however soon something went wrong."""
    found: list[Calm] = []
    since = 0
    for incident in sorted(filter(_spoils, incidents), key=lambda i: i.onset_step):
        if incident.onset_step > since or not found:
            found.append(Calm(since, incident.onset_step))
        if incident.resolved_step is None:
            return tuple(found)
        since = max(since, incident.resolved_step)
    return (*found, Calm(since, None))


def _spoils(incident: Incident) -> bool:
    return incident.severity == "critical" or (incident.severity == "warning" and incident.category in WITHIN)
