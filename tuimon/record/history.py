"""What has been measured so far, ready to draw. No I/O of its own: old points are asked of an archive.

Without an archive every point is kept. With one, memory is bounded: the newest points, a pyramid of extremes over the
whole run (see `track`), and rows of vectors that get coarser with age (see `bands`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from tuimon.record.bands import Bands, SparseShape, TensorShape
from tuimon.record.chunk import Chunk, Mark, ProbeRows, SparseRows, TensorRows, WeightRows
from tuimon.record.probes import QUANTITIES, ProbeEntry, ProbeLayers
from tuimon.record.tensors import TensorTable
from tuimon.record.thinning import Blocks, Series, Thin, begin_of_column, thin, thin_blocks
from tuimon.record.track import Fetch, Track

DIRECT: Final = 20_000
"""Points that are thinned directly; above, the pyramid answers (20,000 points cost 9 ms a frame, 200,000 cost 31)."""
FETCHED: Final = 8 << 20
"""Bytes of log that are looked through for one window at most; for a wider one the pyramid has to do."""
BLOCKS: Final = 1 << 20
"""Blocks that are kept of the levels of one size, of all metrics together, about (24 MB); LEAST of each metric."""
LEAST: Final = 1 << 16
PER_COLUMN: Final = 4
"""Blocks to a column that are fine enough."""

__all__ = ["Archived", "History", "Series", "Thin", "thin"]


class Archived(Protocol):
    """What `record.archive.Archive` has."""

    def cost(self, first: int, last: int) -> int:
        """Bytes to look through for the rows between two steps, inclusive."""

    def window(self, name: str, first: int, last: int) -> Series:
        """One metric between two steps, inclusive."""


class History:
    """Everything measured, by metric. Extend with chunks in order; read from the same thread."""

    def __init__(self, table: TensorTable | None = None, probes: Sequence[ProbeEntry] = (),
                 archive: Archived | None = None) -> None:
        self.table = table
        self.probes = ProbeLayers(probes)
        self.last_step = 0
        self.last_time = 0.0
        self.rows = 0
        """Rows taken in so far, superseded ones as well."""
        self.cuts = 0
        """How often rows that were there have been superseded."""
        self.revision = 0
        """Grows with all that is taken in."""
        self._entries, self._archive = tuple(probes), archive
        self.tracks: dict[str, Track] = {}
        """The metrics; for those who store them."""
        self._tensors: Bands[TensorRows] | None = None
        self._sampled: Bands[ProbeRows] | None = None
        self._weights: Bands[WeightRows] | None = None
        self._marks: list[Mark] = []

    def extend(self, chunk: Chunk) -> None:
        """Add what a reader delivered; a resumed attempt supersedes what lies after its first step."""
        self.revision += 1
        for mark in chunk.marks:
            if mark.kind == "attempt":
                self._supersede(mark.step)
            self._marks.append(mark)
        for name, present in chunk.present.items():
            steps, values = (chunk.steps, chunk.columns[name]) if present.all() else chunk.measured(name)
            if len(steps):
                self.tracks.setdefault(name, Track()).extend(steps, values, self._most)
        if len(chunk.tensors):
            self._take_tensors(chunk.tensors)
        if len(chunk.probes):
            self._sampled = self._taken(self._sampled, chunk.probes, self._probe_shape)
        if len(chunk.weights):
            self._weights = self._taken(self._weights, chunk.weights, _weight_shape)
        if len(chunk):
            self.last_step, self.last_time = int(chunk.steps[-1]), float(chunk.times[-1])
            self.rows += len(chunk)

    @property
    def _most(self) -> int | None:
        return None if self._archive is None else max(LEAST, BLOCKS // max(1, len(self.tracks)))

    def _take_tensors(self, rows: TensorRows) -> None:
        """What an attempt with other tensors measured is left out."""
        width = rows.grad.shape[1]
        if self._tensors is None or width != self._tensors.width:
            revision = self.tensor_revision + 1
            self._tensors = Bands(TensorShape(width), width, bounded=self._archive is not None)
            self._tensors.revision = revision
        self._tensors.extend(rows)

    def _taken(self, bands: Bands[SparseRows] | None, rows: SparseRows,
               shape: Callable[[int], SparseShape]) -> Bands[SparseRows]:
        """With more rows; what an attempt with another table measured is left out."""
        width = rows.values.shape[1]
        if bands is None or width != bands.width:
            revision = 0 if bands is None else bands.revision + 1
            bands = Bands(shape(width), width, bounded=self._archive is not None)
            bands.revision = revision
        bands.extend(rows)
        return bands

    def _probe_shape(self, width: int) -> SparseShape:
        worst = [QUANTITIES[e.quantity].worst if e.quantity in QUANTITIES else "" for e in self._entries]
        return SparseShape(
            np.array(worst, np.str_) == "smallest" if len(worst) == width else np.zeros(width, np.bool_))

    def _supersede(self, after: int) -> None:
        for bands in self.bands().values():
            bands.cut(after)   # vectors may be there of a step whose row was torn off
        if after >= self.last_step:
            return
        self.cuts += 1
        for name, track in self.tracks.items():
            track.cut(after, self._fetch(name), self._most)
        self._marks = [m for m in self._marks if m.step <= after]
        self.last_step = after

    def _fetch(self, name: str) -> Fetch | None:
        archive = self._archive
        return None if archive is None else lambda first, last: archive.window(name, first, last)

    @property
    def tensor_revision(self) -> int:
        """`revision_of` the per-tensor rows."""
        return self.revision_of("tensors")

    def revision_of(self, kind: str) -> int:
        """Grows when rows of one of `bands` that were handed out before have changed; new ones do not count."""
        bands = self.bands().get(kind)
        return bands.revision if bands is not None else 0

    def bands(self) -> dict[str, Bands[Any]]:
        """The rows that are kept within bounds, by kind; for those who store them."""
        found: dict[str, Bands[Any] | None] = {
            "tensors": self._tensors, "probes": self._sampled, "weights": self._weights}
        return {kind: bands for kind, bands in found.items() if bands is not None}

    def recall(self, kind: str, state: Mapping[str, int], parts: Sequence[NDArray[Any]]) -> None:
        """Take in the rows of one kind as they were stored; ValueError where they are none."""
        width = parts[2].shape[1]
        if kind == "tensors":
            self._tensors = Bands.of(TensorShape(width), width, state, parts)
        elif kind == "probes":
            self._sampled = Bands.of(self._probe_shape(width), width, state, parts)
        elif kind == "weights":
            self._weights = Bands.of(_weight_shape(width), width, state, parts)
        else:
            raise ValueError("rows of a kind that is not known")

    def mark(self, marks: Sequence[Mark]) -> None:
        """Take in marks that were stored."""
        self._marks += marks

    @property
    def names(self) -> tuple[str, ...]:
        """Metrics that were measured at least once."""
        return tuple(name for name, track in self.tracks.items() if len(track))

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Breaks, in order."""
        return tuple(self._marks)

    def series(self, name: str) -> Series:
        """All points of one metric that are kept: with an archive the newest; empty where it was never measured."""
        track = self.tracks.get(name)
        return Series.empty() if track is None else Series(track.steps.view, track.values.view)

    def tail(self, name: str, count: int, upto: int | None = None) -> Series:
        """The newest points of one metric, or of those measured by a step; at most `count`."""
        track = self.tracks.get(name)
        if track is None or not len(track):
            return Series.empty()
        if upto is None:
            return track.tail(count)
        first = track.step_before(upto + 1, count)
        return Series.empty() if first is None else self.window(name, first, upto).tail(count)

    def window(self, name: str, first: int, last: int) -> Series:
        """All points of one metric between two steps, inclusive; what is not kept is read from the log, at any cost."""
        track = self.tracks.get(name)
        if track is None or last < first:
            return Series.empty()
        if self._archive is None or track.holds(first):
            return track.window(first, last)
        return self._archive.window(name, first, last)

    def sample(self, name: str, upto: int, count: int) -> Series:
        """One metric up to a step: all points where they are kept, else the last of each of `count` equal stretches.

        A stretch with a value that is not finite is NaN: what is evidence of many points is evidence of one.
        """
        track = self.tracks.get(name)
        if track is None or track.holds(0):
            return Series.empty() if track is None else track.window(0, upto)
        found = self.thin(name, 0, upto, count)
        return Series(found.steps.astype(np.int64), np.where(found.bad, np.nan, found.last))

    def step_before(self, name: str, step: int, count: int) -> int | None:
        """The step of the measurement that is `count` before the first at or after `step`, or of the first there is.

        Where points are not kept any more it may lie a little earlier. None where nothing was measured.
        """
        track = self.tracks.get(name)
        return None if track is None or not len(track) else track.step_before(step, count)

    def value(self, name: str) -> float | None:
        """The last measured value, or None."""
        track = self.tracks.get(name)
        return float(track.values.view[-1]) if track is not None and track.values.size else None

    def value_at(self, name: str, step: int) -> float | None:
        """The last value measured by a step, or None."""
        found = self.tail(name, 1, step)
        return float(found.values[-1]) if len(found) else None

    def tensor_rows(self) -> TensorRows:
        """Per-tensor rows; with an archive the newest as they were, of old ones the greatest of each group."""
        rows = self._tensors.rows if self._tensors is not None else None
        return TensorRows.empty(len(self.table) if self.table else 0) if rows is None else rows

    def probe_rows(self) -> ProbeRows:
        """Probe rows of the newest probe table, of old ones the worst of each group."""
        rows = self._sampled.rows if self._sampled is not None else None
        return ProbeRows.empty() if rows is None else rows

    def weight_rows(self) -> WeightRows:
        """The weights' norms, of old rows the greatest of each group."""
        rows = self._weights.rows if self._weights is not None else None
        return WeightRows.empty(len(self.table) if self.table else 0) if rows is None else rows

    def thin(self, name: str, first: int, last: int, columns: int) -> Thin:
        """The metric between two steps, inclusive, in at most `columns` columns of equal width in steps."""
        track = self.tracks.get(name)
        if track is None or last < first or columns < 1:
            return thin(*_EMPTY, first, last, columns)
        begin, end = track.numbers(first, last)
        if track.holds(first):
            if end - begin <= DIRECT or not track.levels:
                found = track.window(first, last)
                return thin(found.steps, found.values, first, last, columns)
        elif self._archive is not None:
            finest = track.finest(first)
            is_coarse = end - begin <= DIRECT or finest is None or end - begin < columns * finest.points
            if is_coarse and self._archive.cost(first, last) <= FETCHED:
                found = self._archive.window(name, first, last)
                return thin(found.steps, found.values, first, last, columns)
        return thin_blocks(_pieces(track, first, last, end - begin, columns), first, last, columns)


    def thin_on(self, before: Thin, name: str, first: int, last: int, columns: int) -> Thin:
        """As `thin`, from what it said `before` for the same steps and columns, while `cuts` is what it was then.

        Only the last column there was, and what came after it, is looked at: a live chart is thinned at every frame.
        """
        track = self.tracks.get(name)
        if track is None or not len(before) or not track.holds(first):
            return self.thin(name, first, last, columns)
        if track.last_step == before.steps[-1]:   # what is measured now and then
            return before
        begin, end = track.numbers(first, last)
        if end - begin > DIRECT and track.levels:
            return self.thin(name, first, last, columns)
        found = track.window(begin_of_column(int(before.steps[-1]), first, last, columns), last)
        return Thin.join([Thin(before.table[:-1]), thin(found.steps, found.values, first, last, columns)])

    def around(self, name: str, first: int, last: int, columns: int, lead: int) -> Thin:
        """`thin`, and before it `lead` steps at least back to a measurement, behind it the next one.

        They are where a line comes from and goes to, and what a moving average stands on.
        """
        track = self.tracks.get(name)
        if track is None or last < first or not len(track):
            return self.thin(name, first, last, columns)
        begin, after = max(0, min(first - lead, track.step_before(first, 1) or 0)), track.step_after(last)
        before = max(1, min(columns, round(columns * (first - begin) / (last - first + 1))))
        return Thin.join([self.thin(name, begin, first - 1, before), self.thin(name, first, last, columns),
                          self.thin(name, after or 0, after or -1, 1)])


def _weight_shape(width: int) -> SparseShape:
    return SparseShape(np.zeros(width, np.bool_))


_EMPTY: Final = (np.zeros(0, np.int64), np.zeros(0))


def _pieces(track: Track, first: int, last: int, count: int, columns: int) -> Blocks:
    return track.pieces(first, last, count // (PER_COLUMN * columns))
