"""Incidents as the screen lists them, each with the stretch of curve that convicts it. No I/O."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tuimon.diagnosis.causes import as_events
from tuimon.diagnosis.model import Diagnosis, Incident
from tuimon.diagnosis.proof import cleaned, curve
from tuimon.record.history import History
from tuimon.viewer.layers import LayerStrip
from tuimon.viewer.views import IncidentView


class Proofs:
    """The incidents of one run as views; what is over and complete is cut out of the log once."""

    def __init__(self) -> None:
        self.views: tuple[IncidentView, ...] = ()
        self._kept: dict[Incident, IncidentView] = {}
        """Those that cannot change any more."""

    def update(self, diagnosis: Diagnosis, history: History, layers: LayerStrip) -> None:
        """Take in what was read."""
        seen: Counter[tuple[str, int]] = Counter()
        views: list[IncidentView] = []
        kept: dict[Incident, IncidentView] = {}
        for incident, depth in as_events(diagnosis.incidents):
            known = self._kept.get(incident)
            named = (incident.rule, incident.detected_step)
            key = (*named, seen[named])
            seen[named] += 1
            if known is None:
                known = IncidentView(key, cleaned(incident), depth, curve(incident, history, layers))
            elif (known.key, known.depth) != (key, depth):
                known = replace(known, key=key, depth=depth)
            if incident.state == "resolved" and (known.curve is None or known.curve.last <= history.last_step):
                kept[incident] = known
            views.append(known)
        self.views, self._kept = tuple(views), kept
