"""What text can do to a terminal, and how a stream of bytes is read for it: payloads, a judge of characters and bytes."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

TOKEN: Final = "Pwned"
"""Stands in every payload that has room for words: nowhere but between control characters would it be a command."""

PAYLOADS: Final = {
    "OSC 52, clipboard": f"\x1b]52;c;{TOKEN}\x07",
    "OSC 52, ended by ST": f"\x1b]52;c;{TOKEN}\x1b\\",
    "OSC 0, title": f"\x1b]0;{TOKEN}\x07",
    "OSC 2, title": f"\x1b]2;{TOKEN}\x1b\\",
    "OSC 8, link": f"\x1b]8;;http://{TOKEN}\x1b\\here\x1b]8;;\x1b\\",
    "OSC 9, notification": f"\x1b]9;{TOKEN}\x07",
    "OSC without end": f"\x1b]52;c;{TOKEN}",
    "CSI 2J, erase": "\x1b[2J\x1b[31337;31337H",
    "CSI 6n, an answer typed": "\x1b[6n\x1b[c\x1b[21t",
    "CSI without end": "\x1b[31337",
    "SGR": "\x1b[8;31337m",
    "DECSET": "\x1b[?31337h",
    "RIS": "\x1bc",
    "charset": "\x1b(0",
    "DCS, XTGETTCAP": f"\x1bP+q{TOKEN}\x1b\\",
    "APC": f"\x1b_{TOKEN}\x1b\\",
    "PM": f"\x1b^{TOKEN}\x1b\\",
    "SOS": f"\x1bX{TOKEN}\x1b\\",
    "C1 CSI": "\x9b31337m",
    "C1 OSC": f"\x9d0;{TOKEN}\x9c",
    "C1 DCS": f"\x90+q{TOKEN}\x9c",
    "C1 others": "\x84\x85\x8d\x8e\x8f\x9e\x9f\x9c",
    "NUL, BEL, BS, DEL": "\x00\x07\x08\x7f",
    "shift out": "\x0e\x0f",
    "carriage return": f"100%\r{TOKEN}",
    "line feeds": f"a\nb\r\nc\x0bd\x0ce\x1cf\u2028g\u2029h\ti{TOKEN}",
    "bidi override": "\u202e\u202d\u202a\u202b\u202c",
    "bidi isolate": "\u2066\u2067\u2068\u2069\u200e\u200f\u061c",
    "zero width": "\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e\u2063",
    "invisible letters": "\u115f\u1160\u3164\uffa0\u17b4\u17b5\u034f",
    "variation selectors": "\ufe0f\ufe00\U000e0100\U000e01ef\u180b",
    "tags": "".join(chr(0xE0000 + ord(c)) for c in TOKEN),
    "private use": "\ue000\uf8ff\U000f0000",
    "unassigned": "\u0378\uffff\U0003ffff",
    "surrogates": "\ud800\udfff",
    "combining flood": "z" + "\u0301\u0489\u20dd" * 60,
    "leading marks": "\u0301\u0489",
    "markup, closing nothing": "[/",
    "markup, closing another": "[/red]",
    "markup, a bad tag": "[type=x, v={'a[0]'}]",
    "markup, an action": "[@click=app.quit]x[/]",
    "markup, a link": "[link=http://x]y[/link]",
    "format": "%s%n{0}{x!r}",
}
"""reference/reliability.md, 2.5, and what it leads to."""

NASTY: Final = "".join(f"{letter}{PAYLOADS[name]}" for letter, name in zip("abcdefghijklmnop", (
    "OSC 52, clipboard", "OSC 0, title", "OSC 8, link", "CSI 2J, erase", "DCS, XTGETTCAP", "C1 CSI", "C1 OSC", "NUL, BEL, BS, DEL",
    "bidi override", "bidi isolate", "zero width", "invisible letters", "variation selectors", "combining flood",
    "markup, closing another", "markup, an action"), strict=True))
"""Many at once, each behind a letter of its own. No lone surrogate: JSON and UTF-8 would not carry it."""

_GONE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_UNSEEN: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0") | {
    chr(c) for c in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))}


def odd_characters(text: str) -> list[str]:
    """Those that nobody sees and a terminal acts on; marks that climb over other lines, too."""
    found, marks = [], 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if category in _GONE or character in _UNSEEN or marks > 4:
            found.append(f"U+{ord(character):04X}")
    return found


_SEQUENCE: Final = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_].*?(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]|\x1b", re.DOTALL)
OURS: Final = re.compile(
    rb"\x1b\[\d*(?:;\d*)*m"                        # colours
    rb"|\x1b\[\d*(?:;\d*)?H|\x1b\[2J"              # the cursor's place; our own screen, empty
    rb"|\x1b\[\?(?:7|25|1000|1002|1003|1004|1006|1007|1015|1016|1049|2004|2026|2031|2048)(?:;\d+)*[hl]"
    rb"|\x1b\[\?(?:2026|2048)\$p|\x1b\[[><=]\d*u|\x1b\[\?u"  # what Textual asks of a terminal
    rb"|\x1b\]22;[a-z-]*\x07"                        # the pointer's shape
    rb"|\x1b7|\x1b8|\x1b\[6n|\x1b\[c|\x1b\]11;\?\x07")       # what we do: has it shown that, is it dark
"""The whole vocabulary of the panel."""
COLOURS: Final = re.compile(rb"\x1b\[\d*(?:;\d*)*m")
"""That of a command which prints pictures on a terminal."""
NOTHING: Final = re.compile(rb"(?!)")


def strangers(raw: bytes, known: re.Pattern[bytes] = OURS) -> list[str]:
    """What in a stream is neither visible text nor one of the known sequences."""
    found: list[str] = []
    words: list[bytes] = []
    at = 0
    for match in _SEQUENCE.finditer(raw):
        words.append(raw[at:match.start()])
        at = match.end()
        if known.fullmatch(match.group()) is None:
            found.append(repr(match.group()[:60]))
    words.append(raw[at:])
    for piece in words:
        try:
            text = piece.decode("utf-8")
        except UnicodeDecodeError:
            found.append(f"no UTF-8: {piece[:60]!r}")
            continue
        text = text.replace("\r\n", "").replace("\n", "")
        found += [f"{what} in {text[:60]!r}" for what in odd_characters(text)]
    return found
