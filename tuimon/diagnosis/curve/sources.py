"""Where curves come from: a run of ours by name or path, or a file. Reads the disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tuimon.errors import LogError
from tuimon.record.chunk import Chunk, Floats
from tuimon.record.history import History
from tuimon.record.ranks import reader_of
from tuimon.record.runs import find_run

Log = tuple[Sequence[Chunk], "float | None"]
"""What was logged, and the number of steps of the whole run where that is known."""


@dataclass(frozen=True, slots=True)
class Source:
    """One curve to be read."""

    name: str
    steps: Floats
    losses: Floats
    total_steps: float | None
    """As the run itself declared it."""
    val: tuple[Floats, Floats] | None
    """Steps and losses of the evaluations."""


def load(selector: str | None, read_file: Callable[[str], Log]) -> Source:
    """A file or folder by its path, which `read_file` understands; else a run, None being the latest.

    LogError or UsageError for what cannot be read.
    """
    if selector is not None and os.path.exists(selector):
        return source_of(os.path.basename(os.path.normpath(selector)), *read_file(selector))
    run = find_run(selector)
    info = run.read_info()
    reader = reader_of(run.metrics)
    chunks: list[Chunk] = []
    while more := reader.poll():
        chunks += more
    return source_of(run.name, chunks, info.total_steps if info else None)


def source_of(name: str, chunks: Sequence[Chunk], total_steps: float | None) -> Source:
    """The curve within a log; what a resumed attempt did again counts once. LogError where there is no loss."""
    history = History()
    for chunk in chunks:
        history.extend(chunk)
    loss, val = history.series("loss"), history.series("val_loss")
    if not len(loss):
        known = ", ".join(history.names) or "none"
        raise LogError(f"{name}: there is no loss in it (columns that are understood: {known})")
    return Source(
        name, loss.steps.astype(float), loss.values.copy(), total_steps,
        (val.steps.astype(float), val.values.copy()) if len(val) else None,
    )
