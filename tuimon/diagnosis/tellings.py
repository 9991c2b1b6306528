"""How an incident was told while it was open, within a bounded memory. A pure fold, owned by its caller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from tuimon.diagnosis.model import Confidence, Incident, Severity, Telling
from tuimon.record.chunk import Bools

MOST: Final = 64
"""Tellings of one incident, changes of severity apart: enough for any that lasts, not for a confidence that wavers."""
RECENT: Final = 64
"""Incidents of one rule, the newest that are over, of which all of it is kept; of older ones how bad they were."""


class Tellings:
    """One whenever severity or confidence changed, and each time that it has lasted twice as long.

    So how bad it was is known of every step, and its numbers are never older than half of what it had lasted.
    """

    __slots__ = ("_age", "told")

    def __init__(self) -> None:
        self.told: list[Telling] = []
        self._age = -1
        """Of the oldest one, as a power of two."""

    def is_due(self, step: int, severity: Severity, confidence: Confidence) -> bool:
        """Whether it is to be told now."""
        if not self.told:
            return True
        last = self.told[-1][1]
        if severity != last.severity:
            return True
        return len(self.told) < MOST and (confidence != last.confidence or self._power(step) > self._age)

    def keep(self, step: int, incident: Incident) -> None:
        """It was told like that at this step."""
        self.told.append((step, incident))
        self._age = max(self._age, self._power(step))

    def due_among(self, steps: Sequence[int]) -> Bools:
        """(n,) at which of these steps it has lasted long enough to be told again; some may be of before."""
        powers = np.frexp(np.maximum(0.0, np.asarray(steps, np.float64) - self.told[0][0]))[1]
        return np.asarray(powers > np.maximum.accumulate(np.concatenate(([self._age], powers[:-1]))))

    def _power(self, step: int) -> int:
        return (step - self.told[0][0]).bit_length()


def put_away(past: list[Incident], incident: Incident) -> None:
    """One more that is over."""
    past.append(incident)
    if len(past) > RECENT:
        past[-RECENT - 1] = outlined(past[-RECENT - 1])


def outlined(incident: Incident) -> Incident:
    """With the first telling of each severity only."""
    found: list[Telling] = []
    for telling in incident.before:
        if not found or telling[1].severity != found[-1][1].severity:
            found.append(telling)
    return replace(incident, before=tuple(found))
