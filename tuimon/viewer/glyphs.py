"""Glyph sets and their automatic choice: the one place that knows which characters are drawn. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

_LIKENESS: Final = str.maketrans({
    "●": "+", "◆": "i", "▲": "!", "✖": "X", "◌": "?", "◐": "~", "◼": "#", "‖": "=", "✓": "+", "✝": "X", "▸": ">",
    "↺": "<", "▪": "o", "┊": ":", "→": ">", "–": "-", "·": "-", "…": "~", "━": "=", "─": "-", "┃": "|", "│": "|",
    "×": "x", "±": "~", "└": "`", "├": "|", "◂": "<", "↑": "^", "↓": "v", "←": "<", "╎": ";", "╌": "-", "✗": "X",
    "╷": "'", "◇": "*", "↻": "o", "°": "", "²": "^2", "½": "1/2", "√": "sqrt ", "≈": "~", "≤": "<=", "≥": ">=",
    "ᵀ": "^T", "\xa0": " ", "█": "#", "▓": "+", "▒": ":", "░": ".",
})


State = Literal["good", "info", "warning", "critical", "busy", "unknown"]
"""What a badge says; also names a role, except that "busy" is drawn as "info"."""
GlyphName = Literal["braille", "block", "ascii"]


def ascii_of(text: str) -> str:
    """The text for terminals that draw nothing else; of what has no likeness a question mark is left."""
    return text if text.isascii() else text.translate(_LIKENESS).encode("ascii", "replace").decode("ascii")


@dataclass(frozen=True, slots=True, eq=False)   # there are three, each itself
class GlyphSet:
    """Every character that charts, badges and bars are made of."""

    name: GlyphName
    badges: Mapping[State, str]
    """State -> one cell."""
    corners: str
    """Frame: top left, top right, bottom left, bottom right."""
    across: str
    """Frame and axis line, horizontal."""
    down: str
    """Frame and axis line, vertical."""
    axis_corner: str
    """Where the two axes meet."""
    tick: str
    """Y axis at a label."""
    band_down: str
    """Y axis beside a band: nothing rests on the background colour alone."""
    band_tick: str
    """Y axis at a label beside a band."""
    onset: str
    """Vertical dotted line of an onset."""
    event: str
    """Vertical line of something that happened in the run."""
    turn: str
    """Vertical line where a curve goes on differently."""
    rollback: str
    """Vertical line of a rollback."""
    cursor: str
    """Vertical line under inspection."""
    moment: str
    """Vertical line of the moment that the whole panel shows."""
    level: str
    """Horizontal line of a limit."""
    snapshot: str
    """Diamond on the x axis."""
    best: str
    """The best evaluation, on the x axis."""
    bad: str
    """A sample that is not finite."""
    over: str
    """Finite, above the axis."""
    under: str
    """Finite, below the axis; or not positive on a log axis."""
    bars: str
    """Eight levels of a sparkline, lowest first."""
    heat: str
    """Nine levels of the heat strip: four below the usual (farthest first), usual, four above."""
    ellipsis: str
    dash: str
    """Between the ends of a range."""
    full: str
    """Progress done."""
    rest: str
    """Progress to come."""
    rule: str
    """Left edge of the verdict."""

    def say(self, text: str) -> str:
        """Words as this terminal can draw them."""
        return ascii_of(text) if self.name == "ascii" else text


_UNICODE_BADGES: Final[Mapping[State, str]] = {
    "good": "●", "info": "◆", "warning": "▲", "critical": "✖", "busy": "◐", "unknown": "?",
}
_ASCII_BADGES: Final[Mapping[State, str]] = {
    "good": "+", "info": "i", "warning": "!", "critical": "X", "busy": "~", "unknown": "?",
}


def _unicode(name: GlyphName) -> GlyphSet:
    return GlyphSet(
        name=name, badges=_UNICODE_BADGES, corners="╭╮╰╯", across="─", down="│", axis_corner="╰", tick="┤",
        band_down="┃", band_tick="┫", onset="┊", event="╷", turn="·", rollback="╎", cursor="│", moment="┃", level="╌",
        snapshot="◆", best="◇", bad="✗", over="↑", under="↓",
        bars="▁▂▃▄▅▆▇█", heat="▁▂▃▄·░▒▓█", ellipsis="…", dash="–", full="━", rest="─",
        rule="┃",
    )


BRAILLE: Final = _unicode("braille")
BLOCK: Final = _unicode("block")
ASCII: Final = GlyphSet(
    name="ascii", badges=_ASCII_BADGES, corners="++++", across="-", down="|", axis_corner="+", tick="+", band_down="[",
    band_tick="[", onset=":", event="'", turn=".", rollback=";", cursor="|", moment="[", level="-", snapshot="i",
    best="*", bad="X", over="^", under="v", bars="_.,-~=*#", heat="_,-~.:+#@", ellipsis="~", dash="-", full="=",
    rest="-", rule="|",
)
GLYPHS: Final[Mapping[GlyphName, GlyphSet]] = {"braille": BRAILLE, "block": BLOCK, "ascii": ASCII}


def choose(environ: Mapping[str, str], encoding: str | None) -> GlyphSet:
    """The set this terminal can draw: ascii where the output is not UTF-8, or on the console and dumb terminals.

    `encoding` is that of the output stream; None (unknown) counts as not UTF-8. TUIMON_GLYPHS names one outright.
    """
    asked = environ.get("TUIMON_GLYPHS", "").strip().lower()
    if asked in GLYPHS:
        return GLYPHS[asked]  # type: ignore[index]  # membership was just tested
    if (encoding or "").lower().replace("-", "").replace("_", "") not in {"utf8", "utf8sig", "utf16", "utf32"}:
        return ASCII
    if environ.get("TERM", "") in {"linux", "dumb", "vt100", "vt220", "cons25"}:
        return ASCII
    return BRAILLE
