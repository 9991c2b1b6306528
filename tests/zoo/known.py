"""Where we fall short, by name: what is listed here is expected to fail, and a surprise when it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SMALL: Final[Mapping[str, str]] = {}
"""Run of the small zoo -> what is said of it instead, and why."""
