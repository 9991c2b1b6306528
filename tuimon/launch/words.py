"""The words that whoever starts a training may use for how it is watched. Pure."""

from __future__ import annotations

from typing import Literal

Detail = Literal["auto", "full", "light"]
OnCritical = Literal["warn", "hold", "rescue", "stop"]
Rules = Literal["tuimon", "notebook"]
