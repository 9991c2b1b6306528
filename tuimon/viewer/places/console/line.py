"""One line of a console as a terminal would have shown it, as plain text that is safe to draw. Pure.

What is understood, all within the line: carriage returns (a progress bar shows its last state), backspaces, tabs, wide
and combining characters, erasing (CSI K and J) and moving (CSI C, D, G, H, `). Colours and every other escape sequence
go, with their contents: nothing of them reaches the terminal.

Lines stay lines. A file keeps all that was written, so nested progress bars, which move the cursor up over line feeds
(CSI A, and CSI F), are shown one below the other, one line for each time a bar was drawn; where a line goes on above
itself, what was written last is what it shows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from rich.cells import cell_len

from tuimon.diagnosis.figures import size
from tuimon.viewer.text import clean

Mood = Literal["plain", "warning", "critical"]

LIMIT: Final = 4_000
"""Characters shown of one line."""
TAB: Final = 8
_ACTED_OUT: Final = 8_192
"""Characters of a line that are acted out one by one: the last states of a progress bar."""
_FARTHEST: Final = LIMIT + TAB
"""Column that a cursor may be sent to."""
_SGR: Final = re.compile(r"\x1b\[[0-9;:]*m")
_STEPS: Final = re.compile(
    r"(?:\x1b\[|\x9b)(?P<args>[0-?]*)[ -/]*(?P<final>[@-~])"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|(?=\x1b)|$)"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*|\x1b[ -/]*[0-~]?"
    r"|(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
    r"|(?P<control>.)",
    re.DOTALL,
)
_NARROW: Final = re.compile(r"[ -~\u00a1-\u00ac\u00ae-\u02ff\u2500-\u259f\u2800-\u28ff]*")
"""What is known to take one cell a character, the usual progress bars included."""
_UNTOUCHED: Final = re.compile(
    r"[ -~\u00a1-\u00ac\u00ae-\u02ff\u0391-\u03a1\u03a3-\u03c9\u0410-\u044f\u2010-\u2027\u2190-\u22ff"
    r"\u2500-\u259f\u2800-\u28ff\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fef\uac00-\ud7a3\uff01-\uff5e]*")
"""What is drawn as it is written: letters of many scripts, signs, bars."""
_NEVER: Final = re.compile(r"\b(?:0|no|without)\s+(?:errors?|warnings?|exceptions?)\b", re.IGNORECASE)
_RAISED: Final = re.compile(
    r"^\s*Traceback \(most recent call last\)|\b[A-Z]\w+(?:Error|Exception)\b|\bKeyboardInterrupt\b")
_CRITICAL: Final = re.compile(
    r"\b(?:errors?|exception|fatal|critical|panic|segmentation fault|core dumped|out of memory)\b(?!\s*[=:]\s*[\d.+-])",
    re.IGNORECASE,
)
"""Not where a number follows: that is a measurement."""
_WARNING: Final = re.compile(r"\b[A-Z]?\w*Warning\b|\b(?:warn|warnings?|nan|inf)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Shown:
    """A line to draw."""

    text: str
    """Printable characters only."""
    mood: Mood = "plain"
    cut: str = ""
    """Why the text ends early, in a few words; "" where it does not."""


def show(raw: bytes, length: int) -> Shown:
    """The line of these bytes, of `length` in all; more than were read, or more than are shown, is said."""
    text = shown(raw.decode("utf-8", "replace"))
    cut = f"{size(length)} in this line" if length > len(raw) or len(text) > LIMIT else ""
    text = text[:LIMIT]
    return Shown(text, mood(text), cut)


def shown(text: str) -> str:
    """What is left to see of a line, without its line feed: printable characters, at most LIMIT and one."""
    if _UNTOUCHED.fullmatch(text):
        return text[:LIMIT + 1]
    text = text.rstrip("\r\n")
    if len(text) > _ACTED_OUT:
        rewritten = text.find("\r", len(text) - _ACTED_OUT)
        text = text[rewritten:] if rewritten >= 0 else text[:_ACTED_OUT]
    return _settled(text)


def without_colours(text: str) -> str:
    """The text without SGR sequences."""
    return _SGR.sub("", text) if "\x1b" in text else text


@lru_cache(1024)
def _settled(text: str) -> str:
    text = without_colours(text)
    if not text.isprintable():
        states = text.split("\r")
        text = _overlaid(states) if all(map(_NARROW.fullmatch, states)) else _acted_out(text)
    return clean(text.rstrip(), LIMIT + 1)


def mood(text: str) -> Mood:
    """What kind of line it is, by words that a person would look for."""
    if _NEVER.search(text):
        return "plain"
    if _RAISED.search(text) or _CRITICAL.search(text):
        return "critical"
    return "warning" if _WARNING.search(text) else "plain"


def _overlaid(states: list[str]) -> str:
    """The states of a line, the later over the earlier: a shorter one leaves the end of a longer one to be seen."""
    result = ""
    for state in reversed(states):
        if len(state) > len(result):
            result += state[len(result):]
        if len(result) > LIMIT:
            break
    return result


def _acted_out(text: str) -> str:
    cells: list[str] = []
    x, is_above = 0, False
    for step in _STEPS.finditer(text):
        final = step["final"]
        if step["text"]:
            if is_above:
                cells, x, is_above = [], 0, False
            x = _write(cells, x, step["text"])
        elif step["control"]:
            x = _control(cells, x, step["control"])
        elif final and final in "AF":
            is_above = True   # another line: this one is left as it is, unless something is written there
        elif final and not is_above:
            x = _move(cells, x, final, step["args"])
    return "".join(cells)


def _write(cells: list[str], x: int, text: str) -> int:
    if _NARROW.fullmatch(text) and x < _FARTHEST:
        text = text[:_FARTHEST - x]
        _make_room(cells, x, len(text))
        cells[x:x + len(text)] = text
        return x + len(text)
    for character in text:
        wide = cell_len(character)
        if wide == 0:
            if 0 < x <= len(cells):
                cells[x - 1 if cells[x - 1] or x < 2 else x - 2] += character   # a wide one's second cell is empty
            continue
        if x >= _FARTHEST:
            break
        _make_room(cells, x, wide)
        cells[x:x + wide] = (character, "")[:wide]
        x += wide
    return x


def _make_room(cells: list[str], x: int, wide: int) -> None:
    """Cells for `wide` more at `x`; half of a wide character is no character."""
    cells.extend(" " * (x + wide - len(cells)))
    if 0 < x < len(cells) and not cells[x]:
        cells[x - 1] = " "
    if wide and x + wide < len(cells) and not cells[x + wide]:
        cells[x + wide] = " "


def _control(cells: list[str], x: int, control: str) -> int:
    if control == "\r":
        return 0
    if control == "\b":
        return max(0, x - 1)
    if control == "\t":
        x = min(_FARTHEST, (x // TAB + 1) * TAB)
        cells.extend(" " * (x - len(cells)))
    return x


def _move(cells: list[str], x: int, final: str, args: str) -> int:
    count = next((int(part) for part in re.findall(r"\d{1,6}", args)[:1]), 0)
    if final in "KJ":
        if count == 0:
            del cells[x:]
        elif count == 1:
            cells[:x] = " " * min(x, len(cells))
        else:
            cells.clear()
        return x
    if final in "GH`" or (final == "f" and args):
        return min(_FARTHEST, max(0, count - 1)) if final in "G`" else 0
    if final in "CD":
        return min(_FARTHEST, max(0, x + max(1, count) * (1 if final == "C" else -1)))
    return x
