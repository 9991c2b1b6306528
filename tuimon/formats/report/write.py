"""Putting a report down where a person asked for it. Touches the disk."""

from __future__ import annotations

import os
from pathlib import Path

from tuimon.formats.place import placed
from tuimon.record.rundir import label


def default_name(source: str) -> str:
    """"exploding-20251127-171045-ecc06f-report.html"; of a file its name without what comes after the first dot."""
    name = Path(os.path.abspath(source)).name
    return f"{label(name if os.path.isdir(source) else name.split('.')[0])}-report.html"


def write(path: str, words: str, *, force: bool = False) -> None:
    """Write a file whole or not at all. UsageError where there is one already (unless forced) or it cannot be."""
    with placed(path, force=force) as aside:
        Path(aside).write_bytes(words.encode("utf-8", "replace"))
