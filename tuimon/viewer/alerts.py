"""Telling a person whose terminal is in the background: the bell, or a desktop notification through the terminal. Pure.

The notification travels in the terminal's own stream, so it comes through SSH; nothing else is needed on the far side.

    osc9     iTerm2, WezTerm, Ghostty, ConEmu       osc777   foot, urxvt, Ghostty, WezTerm       osc99    kitty
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tuimon.record.text import clean
from tuimon.viewer.dressing import begins
from tuimon.viewer.views import Frame

LONGEST: Final = 200
_BY_PROGRAM: Final = {"iTerm.app": "osc9", "WezTerm": "osc9", "ghostty": "osc9", "iTerm2": "osc9"}
_BY_TERM: Final = (("xterm-kitty", "osc99"), ("xterm-ghostty", "osc9"), ("foot", "osc777"), ("rxvt-unicode", "osc777"))


def way_of(env: Mapping[str, str]) -> str:
    """What this terminal is known to understand; the bell where nothing is known."""
    program = env.get("TERM_PROGRAM", ""), env.get("LC_TERMINAL", "")   # the latter comes along through SSH
    found = next((_BY_PROGRAM[name] for name in program if name in _BY_PROGRAM), None)
    if found is not None:
        return found
    if env.get("KITTY_WINDOW_ID"):
        return "osc99"
    return next((way for term, way in _BY_TERM if env.get("TERM", "").startswith(term)), "bell")


def sequence(way: str, title: str, text: str, env: Mapping[str, str]) -> str:
    """The bytes that say it; inside tmux and screen, handed through to the terminal around them."""
    title, text = clean(title, LONGEST).replace(";", ","), clean(text, LONGEST)
    if way == "bell":
        return "\a"
    said = {
        "osc9": f"\x1b]9;{title}: {text}\x1b\\",
        "osc777": f"\x1b]777;notify;{title};{text}\x1b\\",
        "osc99": f"\x1b]99;i=tuimon:d=0:p=title;{title}\x1b\\\x1b]99;i=tuimon:d=1:p=body;{text}\x1b\\",
    }[way]
    if env.get("TMUX"):   # from tmux 3.3 on: set -g allow-passthrough on
        return f"\x1bPtmux;{said.replace(chr(27), chr(27) * 2)}\x1b\\"
    return "".join(f"\x1bP{part}\x1b\\\x1b\\" for part in said.split("\x1b\\")[:-1]) if env.get("STY") else said


class Alerts:
    """What one panel has said so far, and whether anybody looks at it."""

    def __init__(self) -> None:
        self.is_looked_at: bool | None = None
        """As the terminal says; None: it never has."""
        self._said: set[tuple[object, ...]] = set()

    def news(self, before: Frame, frame: Frame) -> str | None:
        """What has just become worth telling; each thing once."""
        about: tuple[object, ...]
        if before.is_live and not frame.is_live and before.wanted.is_now and frame.wanted.is_now:
            about, words = ("end", frame.facts.name), f"{frame.state} at step {frame.header.step:,}"
        elif begins(before, frame):
            worst = next((i for i in frame.incidents if i.incident.state == "open"), None)
            about, words = (("state", frame.state), frame.header.status) if worst is None else (
                worst.key, f"{worst.incident.headline} since step {worst.incident.onset_step:,}")
        else:
            return None
        if about in self._said:
            return None
        self._said.add(about)
        return words

    def way(self, setting: str, usual: str) -> str | None:
        """How to tell; None: not at all. `usual`: what `auto` comes to on this terminal.

        Nothing is sent to a terminal that says it is looked at. By itself, only to one that says that it is not.
        """
        if setting == "off" or self.is_looked_at or (setting == "auto" and self.is_looked_at is None):
            return None
        return usual if setting == "auto" else setting
