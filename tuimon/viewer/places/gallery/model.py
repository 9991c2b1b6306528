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

    def after(self, before: GalleryView | None) -> GalleryView:
        """The same, with the pictures of before where a run is not read yet: reading begins anew after a visit."""
        if before is None or before.runs != self.runs:
            return self
        both = zip(self.frames, before.frames, strict=True)
        return GalleryView(self.runs, tuple(new if new.header.step or new.problem else old for new, old in both))
