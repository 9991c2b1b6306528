"""Where a click on a badge leads: to what is wrong there, or to what it judges. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tuimon.diagnosis.model import SEVERITIES
from tuimon.viewer.views import BadgeView, Frame, IncidentView
from tuimon.viewer.wanted import Place


@dataclass(frozen=True, slots=True)
class Lead:
    """A place, a chart of the overview, or a few words where there is neither."""

    place: Place | None = None
    incident: tuple[str, int, int] | None = None
    """Key of the incident to begin with there."""
    chart: int | None = None
    hint: str = ""


_SHOWN: Final[Mapping[str, Lead]] = {
    "loss": Lead("loss"), "generalisation": Lead("loss"), "layers": Lead("layers"), "activations": Lead("layers"),
    "throughput": Lead("system"), "ranks": Lead("ranks"), "numerics": Lead(chart=0), "gradients": Lead(chart=1),
    "updates": Lead(chart=2)}
"""What shows the numbers that a badge judges. Those of numerics are in the loss: it says where one is none."""


def lead(frame: Frame, badge: BadgeView) -> Lead:
    """To the worst open incident that the badge is about; of one that is calm to what it judges."""
    if badge.about is None:
        return Lead(hint="too narrow for a badge each: i lists what was found")
    worst = _worst(frame, badge.about)
    if worst is None and badge.tone == "critical" and badge.about != "ranks":
        worst = _worst(frame, "numerics")   # no rule of its own can look any more
    if worst is not None:
        return Lead("incidents", worst.key)
    if badge.tone == "dim":
        return Lead(hint=f"{badge.label}: nothing measured so far that it could judge")
    return _SHOWN[badge.about]


def _worst(frame: Frame, category: str) -> IncidentView | None:
    """As `diagnosis.model.badge` chooses, at the moment that is shown."""
    at = frame.wanted.at
    found = [view for view in frame.incidents if view.incident.category == category
             and view.incident.state == "open" and (at is None or view.incident.detected_step <= at)]
    return max(found, default=None, key=lambda view: (
        SEVERITIES.index(view.incident.severity), -view.incident.onset_step))
