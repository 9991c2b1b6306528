"""What stands in the verdict block's third line instead of what to do, while it is more urgent. Pure."""

from __future__ import annotations

from typing import Final

from tuimon.diagnosis.story import WAITING
from tuimon.diagnosis.tone import BADGES
from tuimon.viewer.lines import Line, Span, Tone, dim, key
from tuimon.viewer.sources import Sources

JUST_NOW: Final = 15.0
"""Seconds for which a refusal stays in the verdict block."""


def third_line(sources: Sources, tone: Tone) -> Line | None:
    """For a verdict of that tone; None where there is nothing."""
    return _asked(sources) or _crew(sources, tone)


def _asked(sources: Sources) -> Line | None:
    """A command that waits for its answer, or was refused a moment ago: law 8 in one line."""
    for request in reversed(sources.requests):
        if request.outcome in WAITING:
            what = {"requested": "requested", "received": "received by the run",
                    "deferred": "kept by the run for its first step"}[request.outcome]
            return (Span(f"◌ {request.verb} {what}", "info"), dim("   it answers at its next step boundary"))
        if request.outcome == "refused" and abs(sources.now - request.time) < JUST_NOW:
            return (Span(f"✖ {request.verb} refused", "warning"), Span(f"   {request.why or 'no reason given'}"))
    return None


def _crew(sources: Sources, tone: Tone) -> Line | None:
    """A rank that is not there; or one that holds the others up, where nothing else is wrong."""
    crew = sources.crew
    words = crew.words if crew.lost else crew.slow if tone == "ok" else ""
    if not words:
        return None
    said = f"{BADGES[crew.tone]} {words[:1].upper()}{words[1:]}."
    return (Span(said, crew.tone), Span("   "), key(" W "), Span(" ranks"))
