"""Looking without touching: whether this process may only read what runs wrote. Reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

READ_ONLY: Final = "TUIMON_READONLY"
ONLY_LOOKS: Final = "this is a read-only view"
"""Why something is not done, as the end of a sentence."""


def is_read_only(env: Mapping[str, str] | None = None) -> bool:
    """Whether it may only look: $TUIMON_READONLY is set to anything but 0 or nothing."""
    env = os.environ if env is None else env
    return env.get(READ_ONLY, "").strip() not in ("", "0")


def only_look() -> None:
    """From now on, here and in every process that this one starts."""
    os.environ[READ_ONLY] = "1"
