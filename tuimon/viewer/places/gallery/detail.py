"""Reads every run of the gallery, each as the overview would. Touches what a Reading touches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuimon.record.rundir import RunDir
from tuimon.viewer.first import OPENING, empty_frame
from tuimon.viewer.places.gallery.model import Ask, GalleryView
from tuimon.viewer.wanted import NOW, Wanted

if TYPE_CHECKING:
    from tuimon.viewer.reading import Reading
    from tuimon.viewer.views import Frame


class GalleryDetail:
    """One Reading a run."""

    def __init__(self) -> None:
        self._readings: dict[Path, Reading] = {}
        self._frames: dict[Path, Frame] = {}
        self.is_behind = False
        """Whether there is more to read at once."""

    def update(self, reading: Reading, wanted: Wanted, now: float, mono: float) -> GalleryView:
        """The runs as they are now; one that cannot be read keeps its last picture, with the reason beside it."""
        from tuimon.viewer.reading import Reading as Reader

        ask = wanted.ask if isinstance(wanted.ask, Ask) else Ask((reading.run.path,))
        look = replace(NOW, window=wanted.window)
        self.is_behind = False
        for path in ask.runs:
            if path not in self._readings:
                self._readings[path] = Reader(RunDir(path), rules=reading.rules)
                self._frames[path] = empty_frame(path.name, OPENING)
            one = self._readings[path]
            try:
                frame = one.poll(now, mono, look)
                self.is_behind = self.is_behind or one.is_behind
            except Exception as error:
                # One broken run must not take the others' pictures away.
                frame = one.broken(repr(error))
            if frame is not None:
                self._frames[path] = frame
        return GalleryView(ask.runs, tuple(self._frames[path] for path in ask.runs))

    def close(self) -> None:
        """Give back what the readings hold."""
        for one in self._readings.values():
            one.close()
