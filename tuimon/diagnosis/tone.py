"""How words are to be read. Pure, and light: what the first paint of the viewer needs."""

from collections.abc import Mapping
from typing import Final, Literal

Tone = Literal["plain", "dim", "strong", "ok", "info", "warning", "critical", "key"]
"""Whoever draws the words turns it into colours."""
BADGES: Final[Mapping[str, str]] = {"ok": "●", "info": "◆", "warning": "▲", "critical": "✖"}
"""Tone or severity -> its sign: nothing is said by colour alone."""
