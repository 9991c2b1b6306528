"""What the run's own guard said of its health: a diagnosis out of events, where the log at hand is only an outline.

Pure. Text is made safe here, as in `story`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final, cast

from tuimon.diagnosis.causes import with_causes
from tuimon.diagnosis.engine import in_order
from tuimon.diagnosis.model import (
    CATEGORIES,
    SEVERITIES,
    Category,
    Confidence,
    Diagnosis,
    Evidence,
    Incident,
    badge,
    plain,
)
from tuimon.diagnosis.rules import RULES
from tuimon.record.events import Event
from tuimon.record.text import clean

KEPT: Final = 64
"""Incidents that are over, newest first."""


SLUGS: Final = tuple(rule.slug for rule in RULES)


def as_of(found: Diagnosis, step: int, unmeasured: Collection[Category] = ()) -> Diagnosis:
    """`Diagnosis.as_of`, what was open then in the order in which it was told while it was now."""
    then = found.as_of(step, unmeasured)
    over = [i for i in then.incidents if i.state == "resolved"]
    return replace(then, incidents=(*in_order(then.open_incidents, SLUGS), *over))


def incident_fields(change: str, incident: Incident, leading: Incident | None = None) -> dict[str, Any]:
    """An incident as an event tells it. `change`: opened, worsened or resolved; `leading`: what is told first now."""
    return {
        "rule": incident.rule, "code": incident.code, "severity": incident.severity, "change": change,
        "onset_step": incident.onset_step, "layer": incident.layer, "headline": incident.headline,
        "detected_step": incident.detected_step, "resolved_step": incident.resolved_step,
        "confidence": incident.confidence, "why": incident.why, "category": incident.category, "word": incident.word,
        "next": list(incident.next), "cause": incident.cause, "rescue_helps": incident.rescue_helps,
        "leads": leading.rule if leading else None,
        "evidence": [{"metric": e.metric, "value": plain(e.value), "limit": plain(e.limit)} for e in incident.evidence],
    }


class Told:
    """Takes events, hands out a diagnosis."""

    def __init__(self) -> None:
        self._incidents: dict[tuple[str, int, str | None], Incident] = {}

    def take(self, event: Event) -> None:
        """One more event; those of other kinds, and incidents of before they were told whole, change nothing."""
        if event.kind == "attempt":
            self._incidents = {key: i for key, i in self._incidents.items() if i.state == "resolved"}
        incident = _incident(event) if event.kind == "incident" else None
        if incident is None:
            return
        key = incident.rule, incident.detected_step, incident.layer
        if key not in self._incidents and incident.state == "resolved":
            key = next((k for k, i in self._incidents.items() if k[:2] == key[:2] and i.state == "open"), key)
        self._incidents[key] = incident
        over = [k for k, i in self._incidents.items() if i.state == "resolved"]
        for old in over[:-KEPT]:
            del self._incidents[old]

    def diagnosis(self, step: int) -> Diagnosis:
        """As of the newest step."""
        if step <= 0:
            return Diagnosis.nothing()
        there = in_order([i for i in self._incidents.values() if i.state == "open"], SLUGS)
        over = [i for i in self._incidents.values() if i.state == "resolved"]
        badges = tuple(badge(category, there, known=True) for category in CATEGORIES)
        return Diagnosis(step, with_causes((*there, *over)), (), badges, {})


def _incident(event: Event) -> Incident | None:
    f = event.fields
    onset, detected = event.whole("onset_step"), event.whole("detected_step")
    category, severity, confidence = event.text("category"), event.text("severity"), event.text("confidence")
    if onset is None or detected is None or category not in CATEGORIES or severity not in SEVERITIES:
        return None
    resolved = event.whole("resolved_step") if f.get("change") == "resolved" else None
    lines, evidence = (found if isinstance(found, list) else [] for found in (f.get("next"), f.get("evidence")))
    return Incident(
        rule=_text(f, "rule", 60), code=_text(f, "code", 20), category=category,
        severity=severity, state="open" if f.get("change") != "resolved" else "resolved",
        onset_step=onset, detected_step=detected, resolved_step=resolved, layer=_text(f, "layer", 200) or None,
        confidence=cast("Confidence", confidence if confidence in ("low", "medium", "high") else "low"),
        headline=_text(f, "headline", 120), why=_text(f, "why", 600),
        next=tuple(clean(line, 400) for line in lines[:12] if isinstance(line, str)),
        evidence=tuple(e for one in evidence[:24] if (e := _evidence(event, one))),
        word=_text(f, "word", 40), rescue_helps=f.get("rescue_helps") is True, cause=_text(f, "cause", 60) or None)


def _text(fields: Mapping[str, Any], name: str, limit: int) -> str:
    value = fields.get(name)
    return clean(value, limit) if isinstance(value, str) else ""


def _evidence(event: Event, one: object) -> Evidence | None:
    if not isinstance(one, Mapping):
        return None
    told = Event(event.seq, event.time, event.attempt, event.step, event.kind, one)
    value, limit = told.number("value"), told.number("limit")
    return None if value is None or limit is None else Evidence(_text(one, "metric", 60), value, limit)
