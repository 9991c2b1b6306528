"""Where curves come from: a run of ours by name or path, or a file. Reads the disk."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from tuimon.diagnosis.reading import chunk_of
from tuimon.errors import LogError
from tuimon.record.chunk import Chunk, Floats
from tuimon.record.history import History
from tuimon.record.runs import find_run
from tuimon.record.segments import LogReader

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
    """A file by its path, else a run, None being the latest. LogError or UsageError for what cannot be read."""
    if selector is not None and os.path.isfile(selector):
        return source_of(os.path.basename(selector), *read_file(selector))
    run = find_run(selector)
    info = run.read_info()
    reader = LogReader(run.metrics)
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


def read_log(path: str) -> Log:
    """A .csv, .jsonl, or either of them gzipped, with the vocabulary's column names. LogError says line and reason."""
    records: list[Mapping[str, Any]] = []
    try:
        with _opened(path) as file:
            rows = _csv_rows(file) if path.removesuffix(".gz").endswith(".csv") else _json_rows(file, path)
            for place, record in rows:
                if not isinstance(record, Mapping):
                    raise LogError(f"{path}:{place}: an object {{column: value}} is wanted")
                records.append(record)
        return (chunk_of(records),), None
    except (OSError, EOFError, ValueError, TypeError, csv.Error) as error:
        raise LogError(f"{path}: {error}".splitlines()[0]) from None


def _opened(path: str) -> IO[str]:
    if path.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return open(path, encoding="utf-8", newline="")


def _csv_rows(file: IO[str]) -> Iterator[tuple[int, Any]]:
    for place, row in enumerate(csv.DictReader(file), 2):
        yield place, {key: value for key, value in row.items() if key and value}


def _json_rows(file: IO[str], path: str) -> Iterator[tuple[int, Any]]:
    for place, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            yield place, json.loads(line)
        except ValueError as error:
            raise LogError(f"{path}:{place}: no JSON: {error}") from None
