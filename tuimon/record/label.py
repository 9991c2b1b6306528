"""label.json: what a person calls a run, and their note on it. Written by viewers, never read by the run itself.

    {"schema": 1, "name": "lr 3e-3, second try", "note": "diverged after the warm-up"}

Touches the disk.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Final

from tuimon.record.files import open_to_read, write_atomically
from tuimon.record.rundir import SCHEMA, RunDir
from tuimon.record.text import clean

FILE: Final = "label.json"
LONGEST_NAME: Final = 80
LONGEST_NOTE: Final = 400
_MOST: Final = 1 << 16
"""Bytes that are read of it."""


@dataclass(frozen=True, slots=True)
class Label:
    """Both empty: nobody has named it."""

    name: str = ""
    """Shown instead of the run's own name; the directory keeps its name."""
    note: str = ""


NO_LABEL: Final = Label()


def one_line(text: str, limit: int) -> str:
    """The text as one line of at most `limit` characters, clean, with single spaces."""
    return " ".join(clean(text[:8 * limit], 8 * limit).split())[:limit].rstrip()


def read_label(run: RunDir) -> Label:
    """What the run is called; an empty label where nobody has named it, or the file is no label. Never raises."""
    try:
        fd = open_to_read(run.path / FILE)
        with os.fdopen(fd, "rb") as file:
            body = json.loads(file.read(_MOST))
    except (OSError, ValueError, RecursionError):
        return NO_LABEL
    if not isinstance(body, dict):
        return NO_LABEL
    name, note = body.get("name"), body.get("note")
    return Label(one_line(name, LONGEST_NAME) if isinstance(name, str) else "",
                 one_line(note, LONGEST_NOTE) if isinstance(note, str) else "")


def write_label(run: RunDir, label: Label) -> Label:
    """Write it atomically, readable by its owner only; returns what was written. OSError where that fails."""
    kept = Label(one_line(label.name, LONGEST_NAME), one_line(label.note, LONGEST_NOTE))
    write_atomically(str(run.path / FILE), json.dumps({"schema": SCHEMA, **asdict(kept)}, indent=1).encode())
    return kept
