"""How words are to be read. Pure, and light: what the first paint of the viewer needs."""

from typing import Literal

Tone = Literal["plain", "dim", "strong", "ok", "info", "warning", "critical", "key"]
"""Whoever draws the words turns it into colours."""
