"""The verdict about a moment that is over: what was known then, nothing to press for it, and the way back. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tuimon.diagnosis.figures import age, counted
from tuimon.diagnosis.figures import step as steps
from tuimon.viewer.lines import Line, Span, dim, key
from tuimon.viewer.sources import Sources


def without_keys(lines: Sequence[Line]) -> tuple[Line, ...]:
    """The lines up to the keys that they offer; a line of keys only is left out."""
    cut = (line[:next((i for i, span in enumerate(line) if span.tone == "key"), len(line))] for line in lines)
    return tuple(line for line in cut if any(span.text.strip() for span in line))


def _way_back(sources: Sources, *, narrow: bool) -> Line:
    """Which moment this is, how far away, and which keys lead on."""
    apart = sources.newest - sources.step
    took = f", {age(apart * sources.step_time)} of training" if sources.step_time and apart else ""
    when = f"As it was at step {steps(sources.step)}"
    if not narrow:
        when += f": {counted(apart, 'step')} ago{took}."
    pointed = sources.wanted.cursor is not None
    back = (key("esc "), Span("no crosshair   " if pointed else "back to now   "))
    if sources.wanted.speed is None:
        return (dim(f"{when}   "), *back, key("[ ] "), Span("earlier, later"))
    told = () if narrow else (dim(f"{when}   "),)
    return (*told, *back, key("p "), Span("stand   "), key("< > "), Span("slower, faster"))


def past_lines(lines: Sequence[Line], sources: Sources, *, narrow: bool) -> tuple[Line, ...]:
    """Headline, numbers, the way back, and below it what else was known then."""
    told = without_keys(lines)
    return (*told[:2], _way_back(sources, narrow=narrow), *told[2:])
