"""Incidents as the screen lists them, each with the stretch of curve that convicts it. No I/O."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import lru_cache
from typing import Final

from tuimon.diagnosis.causes import as_events
from tuimon.diagnosis.model import Diagnosis, Incident
from tuimon.diagnosis.past import stood
from tuimon.diagnosis.proof import cleaned, curve
from tuimon.record.history import History
from tuimon.viewer.layers import LayerStrip
from tuimon.viewer.views import IncidentView

AT_ONCE: Final = 12
"""Curves that are cut at one time, the newest incidents first: of a long run each is read out of the log again."""


class Proofs:
    """The incidents of one run as views; what is over and complete is cut out of the log once."""

    def __init__(self) -> None:
        self.views: tuple[IncidentView, ...] = ()
        self.is_behind = False
        """Whether some have yet to get their curve."""
        self._kept: dict[Incident, IncidentView] = {}
        """Those that cannot change any more."""
        self._cut: set[Incident] = set()
        """Those that were looked for a curve."""
        self._told: tuple[Incident, ...] = ()
        """Of each view the incident, with how it was told before."""
        self._judged = 0
        """The step up to which they are known."""

    def update(self, diagnosis: Diagnosis, history: History, layers: LayerStrip) -> None:
        """Take in what was read."""
        seen: Counter[tuple[str, int]] = Counter()
        views: list[IncidentView] = []
        kept: dict[Incident, IncidentView] = {}
        told = as_events(diagnosis.incidents)
        fresh = {i for i, _ in told if i.state == "resolved"} - self._cut
        later = set(sorted(fresh, key=lambda i: i.detected_step)[:-AT_ONCE])
        self._cut, self.is_behind = {i for i, _ in told} - later, bool(later)
        for incident, depth in told:
            known = self._kept.get(incident)
            named = (incident.rule, incident.detected_step)
            key = (*named, seen[named])
            seen[named] += 1
            if known is None:
                proof = None if incident in later else curve(incident, history, layers)
                known = IncidentView(key, cleaned(incident), depth, proof)
            elif (known.key, known.depth) != (key, depth):
                known = replace(known, key=key, depth=depth)
            if incident.state == "resolved" and incident not in later and (
                    known.curve is None or known.curve.last <= history.last_step):
                kept[incident] = known
            views.append(known)
        self.views, self._kept = tuple(views), kept
        self._told, self._judged = tuple(incident for incident, _ in told), diagnosis.steps

    def as_of(self, step: int) -> tuple[IncidentView, ...]:
        """The same views in the same order, each incident as it stood at a step; what is to come, as it will be found.

        The list is a map of the run, also of what lies ahead of the moment that is shown.
        """
        then = (stood(incident, step, self._judged) for incident in self._told)
        return tuple(view if incident is told else replace(view, incident=_safe(incident))
                     for view, told, incident in zip(self.views, self._told, then, strict=True))


@lru_cache(maxsize=1024)   # while a person walks through time the same are told again and again
def _safe(incident: Incident) -> Incident:
    return cleaned(incident)
