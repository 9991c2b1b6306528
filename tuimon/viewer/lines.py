"""Lines of toned words: what the pure half of the viewer says, before any terminal is involved. Pure.

A line is a tuple of spans; a span is a text and a tone. Widgets turn tones into styles; nothing here knows colours.
Numbers have one form everywhere: three significant digits, thousands separators in steps.
"""

from __future__ import annotations

import math
from typing import Final, Literal, NamedTuple

from tuimon.diagnosis.model import Severity

Tone = Literal["plain", "dim", "strong", "ok", "info", "warning", "critical", "key"]


class Span(NamedTuple):
    """Some text in one tone."""

    text: str
    tone: Tone = "plain"


Line = tuple[Span, ...]

GLYPHS: Final[dict[Tone, str]] = {"ok": "●", "info": "◆", "warning": "▲", "critical": "✖", "dim": "◌"}
"""Colour is never alone: each tone that judges has a glyph."""


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


def number(value: float | None) -> str:
    """Three significant digits: 4.71, 212, 0.0613, 3.0e-4, 1.2e+5; "–" for what was not measured."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"
    size = abs(value)
    if size == 0:
        return "0"
    if size < 0.001 or size >= 10_000:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    digits = max(0, 2 - math.floor(math.log10(size)))
    return f"{value:.{digits}f}" if digits else f"{value:,.0f}"


def rate(value: float | None) -> str:
    """A learning rate: always as a power of ten, so that a tenfold cut is seen as one."""
    if value is None or not math.isfinite(value) or value == 0:
        return number(value)
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def steps(count: int) -> str:
    """A step number with thousands separators."""
    return f"{count:,}"


def plain_factor(value: float) -> str:
    """A factor or a limit as a person would type it: 0.1, 1.0, 20."""
    return f"{value:.1f}" if value == round(value) and abs(value) < 100 else f"{value:.3g}"


def clock(seconds: float) -> str:
    """A length of time as a clock shows it: 0:34, 12:05, 3:12:05, 2 d 03 h."""
    if not math.isfinite(seconds) or seconds < 0:
        return "–"
    whole = int(seconds)
    if whole >= 86_400:
        return f"{whole // 86_400} d {whole % 86_400 // 3600:02d} h"
    if whole >= 3600:
        return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
    return f"{whole // 60}:{whole % 60:02d}"


def ago(seconds: float) -> str:
    """An age in one unit: 12 s, 3 min, 4 h, 2 d."""
    whole = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"
