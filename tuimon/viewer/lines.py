"""Lines of toned words: what the pure half of the viewer says, before any terminal is involved. Pure.

A line is a tuple of spans; a span is a text and a tone. Widgets turn tones into styles; nothing here knows colours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from tuimon.diagnosis.figures import age, number, plain_factor
from tuimon.diagnosis.tone import Tone

if TYPE_CHECKING:
    from tuimon.diagnosis.model import Severity

__all__ = [
    "Line", "Span", "Tone", "dim", "joined", "key", "lapse", "measured", "plain_factor", "rate", "say", "strong",
    "text_of", "tone_of",
]


class Span(NamedTuple):
    """Some text in one tone."""

    text: str
    tone: Tone = "plain"


Line = tuple[Span, ...]

def tone_of(severity: Severity | None) -> Tone:
    """The tone of a severity; None is healthy."""
    return "ok" if severity is None else severity


def dim(text: str) -> Span:
    """What may be overlooked."""
    return Span(text, "dim")


def strong(text: str) -> Span:
    """What must not be overlooked."""
    return Span(text, "strong")


def key(text: str) -> Span:
    """A key to press."""
    return Span(text, "key")


def say(text: str, tone: Tone = "plain") -> Line:
    """A line of one span."""
    return (Span(text, tone),)


def text_of(line: Line) -> str:
    """The line without tones."""
    return "".join(span.text for span in line)


def joined(lines: Iterable[Line]) -> Line:
    """Several lines as one; neighbours of one tone are one span, so that it is cut between words."""
    spans: list[Span] = []
    for line in lines:
        for span in line:
            before = spans.pop().text if spans and spans[-1].tone == span.tone else ""
            spans.append(Span(before + span.text, span.tone))
    return tuple(spans)


def measured(value: float | None) -> str:
    """A number, or "–" where nothing was measured."""
    return "–" if value is None else number(value)


def rate(value: float | None) -> str:
    """A learning rate: always as a power of ten, so that a tenfold cut is seen as one."""
    if value is None or not math.isfinite(value) or value == 0:
        return measured(value)
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def lapse(seconds: float) -> str:
    """How long, in whole units: a text that changes once a second, not with every look."""
    return f"{int(max(0.0, seconds))} s" if seconds < 60 else age(seconds)


def judged(severity: str, headline: str, since: int | None) -> tuple[str, Tone]:
    """A verdict within a line, and its tone: "healthy", "exploding gradients since 203". `headline` is clean."""
    if severity == "healthy" or not headline:
        return severity, "ok" if severity == "healthy" else "dim"
    if headline.split(" ", 1)[0][1:].islower():   # NaN keeps its capitals
        headline = headline[:1].lower() + headline[1:]
    tone: Tone = {"info": "info", "warning": "warning", "critical": "critical"}.get(severity, "dim")  # type: ignore[assignment]  # four tones
    return headline + ("" if since is None else f" since {since:,}"), tone
