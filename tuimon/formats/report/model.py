"""What a report shows, as frozen values. Texts are as they came: whoever writes the page makes them safe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tuimon.diagnosis.autopsy.model import Autopsy
from tuimon.diagnosis.calm import Calm
from tuimon.diagnosis.model import Diagnosis, Incident
from tuimon.diagnosis.proof import CurveView
from tuimon.diagnosis.story import EventLine
from tuimon.record.chunk import Bools, Floats, Ints
from tuimon.record.history import Thin
from tuimon.record.tensors import TensorEntry


@dataclass(frozen=True, slots=True)
class Head:
    """What stands at the top, and how the log was understood."""

    name: str
    source: str
    """The run's directory name, or the path of the file."""
    kind: str
    """As `Reading.kind`."""
    state: str
    model: str = ""
    device: str = ""
    steps: int = 0
    total: int | None = None
    started: float | None = None
    """Wall clock of the first row, seconds since the epoch; None where the log does not tell."""
    seconds: float | None = None
    """From the first row to the last."""
    why: str = ""
    """What ended it."""
    statement: str = ""
    """What a demo said it was going to do."""
    notes: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    written: float = 0.0
    """When the report was made."""


@dataclass(frozen=True, slots=True)
class Range:
    """A range of values with a meaning, drawn behind the line."""

    low: float
    high: float
    is_healthy: bool
    """Where it should be; else where it usually is."""
    word: str


@dataclass(frozen=True, slots=True)
class Graph:
    """One metric over the whole run."""

    name: str
    title: str
    log: bool
    last: float
    """The last value measured."""
    line: Thin
    ranges: tuple[Range, ...] = ()
    other: Thin | None = None
    """The validation loss, on the loss."""
    other_last: float = float("nan")


@dataclass(frozen=True, slots=True)
class Moment:
    """A line through every graph, with its number in their margin."""

    step: int
    words: str
    tone: str
    """"critical", "warning", "info", "ok" or "plain"."""
    kind: str
    """"onset", "event" or "rollback"."""


@dataclass(frozen=True, slots=True)
class Told:
    """One incident as it is told."""

    incident: Incident
    depth: int
    """0 for what nothing else explains."""
    is_advised: bool
    """Whether its own advice is to be followed: not while an open cause stands above it."""
    curve: CurveView | None


@dataclass(frozen=True, slots=True, eq=False)
class Depth:
    """Gradient RMS of every layer over time: what `diagnosis.heat` ranks."""

    names: tuple[str, ...] = ()
    steps: Floats = field(default_factory=lambda: np.zeros(0))
    """(m,)"""
    values: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    """(m, L); NaN where a layer had no gradient."""
    before: float | None = None
    again: tuple[Calm, ...] = ()
    seen: Bools = field(default_factory=lambda: np.zeros((0, 0), np.bool_))
    """(m, L) whether it had one."""


@dataclass(frozen=True, slots=True)
class LayerTable:
    """What a curve of one layer is taken from."""

    names: tuple[str, ...]
    steps: Ints | None
    rms: NDArray[np.float64] | None

    def index(self, layer: str | None) -> int | None:
        """The column of a layer, or of the one that a module is part of; None where there is none."""
        name = layer or ""
        return next((i for i, mine in enumerate(self.names) if name == mine or name.startswith(f"{mine}.")), None)


@dataclass(frozen=True, slots=True)
class Saved:
    """One checkpoint on disk."""

    step: int
    time: float
    size: int | None
    sha256: str
    name: str
    is_there: bool
    """Whether its directory is there still."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and how it ran."""

    host: str = ""
    pid: int | None = None
    argv: tuple[str, ...] = ()
    script: str = ""
    optimizer: str = ""
    world_size: int = 1
    attempts: int = 0
    clips: bool | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One tensor and what was last measured of it."""

    entry: TensorEntry
    grad: float | None = None
    """L2 norm of its last gradient; None where none was measured."""
    update: float | None = None
    """Its last change relative to its own norm."""
    weight: float | None = None
    """Its own L2 norm when it was last logged; None where it never was."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything on the page."""

    head: Head
    diagnosis: Diagnosis
    first: int = 0
    last: int = 1
    """Steps that the graphs span."""
    graphs: tuple[Graph, ...] = ()
    missing: tuple[str, ...] = ()
    """Metrics that a report shows and this log does not hold, in words."""
    moments: tuple[Moment, ...] = ()
    incidents: tuple[Told, ...] = ()
    autopsies: tuple[Autopsy, ...] = ()
    depth: Depth = field(default_factory=Depth)
    deeds: tuple[EventLine, ...] = ()
    checkpoints: tuple[Saved, ...] = ()
    healthy: tuple[int, ...] = ()
    """Steps of snapshots that had earned their health."""
    machine: Machine | None = None
    """None for a log that does not tell."""
    parameters: tuple[Parameter, ...] = ()
