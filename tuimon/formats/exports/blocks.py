"""A run or a log, a stretch of rows at a time, and what it holds as a whole. Touches the disk."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from tuimon.diagnosis.context import context_of
from tuimon.diagnosis.model import RunContext
from tuimon.errors import LogError, UsageError
from tuimon.formats.exports.layerwise import LayerName, Layerwise, Series
from tuimon.formats.names import some
from tuimon.formats.progress import Watch, unwatched
from tuimon.formats.read import read_source
from tuimon.formats.sources import Source
from tuimon.record.chunk import Bools, Chunk, Floats, Ints, ProbeRows, TensorRows, WeightRows
from tuimon.record.events import Event, EventReader
from tuimon.record.metrics import METRICS
from tuimon.record.ranks import reader_of
from tuimon.record.rundir import RunDir, RunInfo
from tuimon.record.worlds import bytes_of

ROWS: Final = 1 << 15
"""Rows of a block at most."""
READ: Final = 4 << 20
"""Bytes of a run's log that are decoded at once."""
Column = tuple[Floats, Bools]
"""Values (n,) and whether each was measured (n,)."""


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of one attempt: n rows."""

    attempt: int
    steps: Ints
    """(n,) strictly increasing."""
    times: Floats
    """(n,) seconds since the epoch; 0 where unknown."""
    columns: Mapping[str, Column]
    """Metric -> (n,); in no row nothing was measured, of metrics or of layers."""
    layers: Mapping[LayerName, tuple[Ints, Floats]] = field(default_factory=dict)
    """Rows of this block (m,) and values (m,), which were float32."""

    def __len__(self) -> int:
        return len(self.steps)

    def after(self, attempt: int, step: int | None) -> Block:
        """The rows behind that step of that attempt; None: all."""
        if step is None or self.attempt > attempt or not len(self):
            return self
        cut = len(self) if self.attempt < attempt else int(np.searchsorted(self.steps, step, side="right"))
        if not cut:
            return self
        return Block(
            self.attempt, self.steps[cut:], self.times[cut:],
            {name: (values[cut:], present[cut:]) for name, (values, present) in self.columns.items()},
            {key: (at[at >= cut] - cut, values[at >= cut]) for key, (at, values) in self.layers.items()},
        )


@dataclass(frozen=True, slots=True)
class Survey:
    """What a source holds as a whole."""

    names: tuple[str, ...]
    """Metrics that were measured at least once and are wanted, in the order of the vocabulary, a script's own last."""
    layers: tuple[LayerName, ...]
    rows: int
    """Rows of the source, whether or not something that is wanted was measured in them."""
    attempts: int
    first_time: float
    """Wall clock of the first row that has one, seconds since the epoch; 0 where none has."""


class Origin:
    """Something that can be exported, several times over."""

    def __init__(self, source: Source, watch: Watch = unwatched) -> None:
        """LogError where it cannot be read."""
        self._run = RunDir(Path(source.path)) if source.kind == "run" else None
        self.info: RunInfo | None = None
        """What a run of ours says of itself."""
        self.label = ""
        """How a run's directory is called; "" for a log of another tool."""
        self.share = math.nan
        """How much of a run has been read, this time; NaN for what is read at once."""
        self._chunks: tuple[Chunk, ...] = ()
        if self._run is None:
            reading = read_source(source, watch)
            self.name, self.context, self._chunks = reading.name, reading.context, reading.chunks
            return
        self.info = self._run.read_info()
        self.name = self.label = os.path.basename(os.path.abspath(source.path))
        self.context = context_of(self.info) if self.info else RunContext()

    def chunks(self) -> Iterator[Chunk]:
        """All stretches, from the beginning."""
        if self._run is None:
            yield from self._chunks
            return
        reader, size = reader_of(self._run.metrics), bytes_of(self._run.metrics)
        while more := reader.poll(READ):
            self.share = reader.consumed / max(size, reader.consumed, 1)
            yield from more

    def events(self) -> Iterator[Event]:
        """What happened, in order; nothing for a log of another tool."""
        reader = EventReader(self._run.events) if self._run else None
        while reader and (more := reader.poll()):
            yield from more


def survey(
    origin: Origin, metrics: Sequence[str] = (), *, layers: bool = False, watch: Watch = unwatched,
) -> Survey:
    """What is there to export: of the metrics only those named, where some are.

    LogError where nothing has been measured; UsageError for a metric that never was.
    """
    names: dict[str, None] = {}
    found: dict[LayerName, None] = {}
    rows, attempts, first, inside = 0, 1, 0.0, False
    layerwise = Layerwise(origin.context) if layers else None
    for attempt, chunk in numbered(origin.chunks()):
        watch("reading", origin.share)
        attempts = max(attempts, attempt)
        rows += len(chunk)
        first = first or float(_known(chunk.times)[chunk.times > 0][:1].sum())
        names |= dict.fromkeys(name for name, present in chunk.present.items() if present.any())
        inside = inside or len(chunk.tensors) + len(chunk.probes) + len(chunk.weights) > 0
        if layerwise is not None:
            found |= dict.fromkeys(layerwise.of(chunk))
    if not names and not found:
        what = "but layers: --layers exports them" if inside else "yet"
        raise LogError(f"{origin.name}: nothing is measured in it {what}")
    ordered = [*(name for name in METRICS if name in names), *sorted(names.keys() - METRICS.keys())]
    missing = [name for name in metrics if name not in names]
    if missing:
        raise UsageError(f"never measured in {origin.name}: {some(missing)}; there are: {', '.join(ordered)}")
    wanted = tuple(name for name in ordered if not metrics or name in metrics)
    return Survey(wanted, tuple(sorted(found, key=lambda key: key[0])), rows, attempts, first)


def numbered(chunks: Iterator[Chunk], attempt: int = 1) -> Iterator[tuple[int, Chunk]]:
    """Each stretch with the number of its attempt."""
    for chunk in chunks:
        for mark in chunk.marks:
            if mark.kind == "attempt":
                attempt = mark.whole("number", attempt + 1)
        yield attempt, chunk


class Cutter:
    """From stretches as they are read to blocks as they are written."""

    def __init__(self, context: RunContext, names: Collection[str] | None = None, *, layers: bool = False) -> None:
        """`names`: the metrics that are wanted; None: all."""
        self._names, self._layers = names, Layerwise(context) if layers else None
        self._attempt = 0
        self._held: Chunk | None = None

    def cut(self, attempt: int, chunk: Chunk) -> Iterator[Block]:
        """The blocks of one stretch more."""
        if self._layers is None:
            chunk = replace(chunk, tensors=TensorRows.empty(), probes=ProbeRows.empty(), weights=WeightRows.empty())
        else:
            if attempt != self._attempt:
                yield from self.rest()
            chunk = self._aligned(chunk)
        self._attempt = attempt
        for piece in chunk.pieces(list(range(ROWS, len(chunk), ROWS))):
            block = self._block(piece)
            if len(block):
                yield block

    def rest(self) -> Iterator[Block]:
        """What was held back for rows that did not come."""
        held, self._held = self._held, None
        if held is not None:
            block = self._block(held)
            if len(block):
                yield block

    def _aligned(self, chunk: Chunk) -> Chunk:
        """With the vectors that came before their rows, and without those whose rows are still to come."""
        held = self._held
        if held is not None:
            tensors = [rows for rows in (held.tensors, chunk.tensors) if len(rows)]
            probes = [rows for rows in (held.probes, chunk.probes) if len(rows)]
            weights = [rows for rows in (held.weights, chunk.weights) if len(rows)]
            chunk = replace(chunk, tensors=TensorRows.join(tensors), probes=ProbeRows.join(probes),
                            weights=WeightRows.join(weights))
        far = 1 << 62
        last = int(chunk.steps[-1]) if len(chunk) else -far
        ahead = Chunk(chunk.steps[:0], chunk.times[:0], {}, {}, chunk.tensors.between(last, far), (),
                      chunk.probes.between(last, far), chunk.weights.between(last, far))
        self._held = ahead if len(ahead.tensors) + len(ahead.probes) + len(ahead.weights) else None
        return replace(chunk, tensors=chunk.tensors.between(-far, last), probes=chunk.probes.between(-far, last),
                       weights=chunk.weights.between(-far, last))

    def _block(self, chunk: Chunk) -> Block:
        names = [name for name, present in chunk.present.items()
                 if (self._names is None or name in self._names) and present.any()]
        series = self._layers.of(chunk) if self._layers is not None else {}
        keep = np.zeros(len(chunk), np.bool_)
        for name in names:
            keep |= chunk.present[name]
        steps, times = chunk.steps[keep], _known(chunk.times)[keep]
        columns = {name: (chunk.columns[name][keep], chunk.present[name][keep]) for name in names}
        if series:
            steps, times, columns = _widened(chunk, steps, columns, series)
        layers = {key: (np.searchsorted(steps, at), values.astype(np.float64)) for key, (at, values) in series.items()}
        return Block(self._attempt, steps, times, columns, layers)


def _known(times: Floats) -> Floats:
    """Times (n,), 0 where a clock told none."""
    return np.where(np.isfinite(times), times, 0.0)


def _widened(
    chunk: Chunk, steps: Ints, columns: dict[str, Column], series: Mapping[LayerName, Series],
) -> tuple[Ints, Floats, dict[str, Column]]:
    """The same rows, and rows for the steps at which nothing but a layer was measured."""
    union = np.unique(np.concatenate([steps, *(at for at, _ in series.values())]))
    times = np.zeros(len(union))
    known = np.isin(union, chunk.steps)
    times[known] = _known(chunk.times)[np.searchsorted(chunk.steps, union[known])]
    where = np.searchsorted(union, steps)
    wide: dict[str, Column] = {}
    for name, (values, present) in columns.items():
        wide[name] = (np.full(len(union), np.nan), np.zeros(len(union), np.bool_))
        wide[name][0][where], wide[name][1][where] = values, present
    return union, times, wide


def facts(origin: Origin) -> dict[str, Any]:
    """What a run says of itself, for a person: JSON values, without what is unknown."""
    info = origin.info
    if info is None:
        return {"name": origin.name}
    told = {
        "name": info.name, "run": origin.label, "model": info.model, "optimizer": info.optimizer, "device": info.device,
        "host": info.process.host, "argv": list(info.argv), "attempt": info.attempt, "started": info.started,
        "total_steps": info.total_steps, "tokens_per_step": info.tokens_per_step, "world_size": info.world_size,
        "parameters": sum(entry.numel for entry in info.tensors), "versions": dict(info.versions),
    }
    return {key: value for key, value in told.items() if value not in (None, "", [], {})}
