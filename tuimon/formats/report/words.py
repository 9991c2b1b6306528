"""Words, numbers and small pieces that all parts of the page share. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final

from tuimon.diagnosis.model import Incident, plain
from tuimon.diagnosis.tone import BADGES
from tuimon.diagnosis.wording import count, number
from tuimon.formats.report.html import Child, Html, el, join

GLYPHS: Final = {**BADGES, "waiting": "◌"}
_TEXT: Final = Html("\ufe0e")
"""Says that the glyph before it is a letter, not a picture."""


def sign(severity: str) -> Html:
    """The glyph of a severity; its word stands beside it, so it is not read aloud."""
    return el("span", join((GLYPHS.get(severity, "●"), _TEXT)), class_=f"sign {severity}", aria_hidden="true")


def value(measured: float) -> Html:
    """A number as people read it, with the exact one inside."""
    return el("data", number(measured), value=str(plain(measured)), class_="n")


def step(at: int) -> Html:
    """A step as people read it."""
    return el("data", count(at), value=str(at), class_="n")


def when(incident: Incident) -> Html:
    """Since step 1,200; or step 90 to 203."""
    if incident.resolved_step is None:
        return join(("since step ", step(incident.onset_step)))
    return join(("step ", step(incident.onset_step), " to ", step(incident.resolved_step)))


def moment(seconds: float) -> str:
    """A wall clock reading, local: 2025-11-27 17:10:45."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "–"


def facts(*parts: Child) -> Html:
    """Short statements behind each other; what is empty is left out."""
    kept = [part for part in parts if part]
    return el("p", *(el("span", part) for part in kept), class_="facts")


def sentence(words: str) -> str:
    """With a capital letter."""
    return f"{words[:1].upper()}{words[1:]}"


def log_tag(log: bool) -> Html | None:
    """Says that the axis is logarithmic."""
    return el("span", "log scale", class_="tag") if log else None


def section(name: str, title: str, *children: Child) -> Html:
    """A part of the page with a heading."""
    return el("section", el("h2", title), *children, id=name)


def table(head: Sequence[str], rows: Iterable[Sequence[Child]], numbers: Sequence[int] = (), **attributes: str) -> Html:
    """A table; the columns `numbers` are set to the right."""
    def cell(tag: str, i: int, child: Child) -> Html:
        return el(tag, child, class_="num" if i in numbers else None, scope="col" if tag == "th" else None)

    top = el("thead", el("tr", *(cell("th", i, words) for i, words in enumerate(head))))
    body = el("tbody", *(el("tr", *(cell("td", i, child) for i, child in enumerate(row))) for row in rows))
    return el("div", el("table", top, body, **attributes), class_="wide")


def folded(title: Child, *children: Child, class_: str | None = None) -> Html:
    """What opens on demand."""
    return el("details", el("summary", title), *children, class_=class_)
