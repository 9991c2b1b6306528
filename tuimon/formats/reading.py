"""What comes out of reading a file: a run's values, and what a person should know about how they were logged. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tuimon.diagnosis.model import RunContext
from tuimon.record.chunk import Chunk


@dataclass(frozen=True, slots=True)
class Reading:
    """One training run as some tool has logged it."""

    name: str
    """The run's name, or the path as it was given."""
    kind: str
    """"run", "csv", "jsonl", "tfevents", "trainer state" or "wandb"."""
    chunks: tuple[Chunk, ...]
    """In order. A resumed run has an "attempt" mark where it goes on; within an attempt steps strictly increase."""
    context: RunContext
    """What is known besides: layers, total steps."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Metric -> what the file calls it; empty for our own runs."""
    cadence: int | None = None
    """Steps from one row to the next, typically; None where there is but one row, or for our own runs."""
    notes: tuple[str, ...] = ()
    """Sentences without a full stop about what was understood, assumed or left out."""
    labels: tuple[tuple[str, str], ...] = ()
    """(metric, text) of what our own measuring says about a metric, as `Told.labels`."""
    state: str = "unknown"
    """State of the run: as `tuimon runs` says it, "finished" or "crashed" where a log tells, else "unknown"."""
