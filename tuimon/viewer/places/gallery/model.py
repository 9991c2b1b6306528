"""What the gallery asks and shows. Values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tuimon.viewer.views import Frame


@dataclass(frozen=True, slots=True)
class Ask:
    """Whose pictures hang here."""

    runs: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class GalleryView:
    """One frame a run, in the order of the ask."""

    runs: tuple[Path, ...]
    frames: tuple[Frame, ...]
