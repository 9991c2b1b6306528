"""An export as an SQLite database. Touches the disk.

    run         key, value                               what a run says of itself; value is JSON
    metrics     attempt, step, time, a column a metric   a row a step; NULL where nothing was measured, or NaN was
    non_finite  attempt, step, metric, value             "NaN", "Infinity", "-Infinity": what NULL cannot say
    tensors     attempt, step, measured, layer, value    of layers, with --layers: measured is "layer_grad_norm", ...
    events      seq, time, attempt, step, kind, fields   with --events; fields is JSON

`metrics` is wide: questions are asked of steps ("where loss > 5, what was the gradient?"), and a million steps of four
metrics are a third of the rows and the time of a table of single values. SQLite has no NaN, so it stands apart, and
averages pass over it. Layers, many and measured rarely, are rows of single values. Keys are (attempt, step).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Final

import numpy as np

from tuimon.errors import UsageError
from tuimon.formats.exports.blocks import Block, Column, Origin, Survey, facts
from tuimon.formats.exports.titles import titles
from tuimon.record.events import Event
from tuimon.record.plain import finite

MOST: Final = 1900
"""Metrics in one table: SQLite takes 2,000 columns."""
_TABLES: Final = """
CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE non_finite (
    attempt INTEGER NOT NULL, step INTEGER NOT NULL, metric TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (attempt, step, metric)) WITHOUT ROWID;
CREATE TABLE tensors (
    attempt INTEGER NOT NULL, step INTEGER NOT NULL, measured TEXT NOT NULL, layer TEXT NOT NULL, value REAL,
    PRIMARY KEY (attempt, step, measured, layer)) WITHOUT ROWID;
CREATE TABLE events (
    seq INTEGER NOT NULL, time REAL NOT NULL, attempt INTEGER NOT NULL, step INTEGER NOT NULL, kind TEXT NOT NULL,
    fields TEXT NOT NULL);
"""


class SqliteSink:
    """One database, at a path that nobody reads yet."""

    def __init__(self, path: str, survey: Survey, origin: Origin) -> None:
        """UsageError where there are more metrics than a table has columns."""
        if len(survey.names) > MOST:
            raise UsageError(f"{len(survey.names)} metrics are more than a table of SQLite takes: name some")
        self._survey = survey
        self._titles = titles(survey.names)
        self._base = sqlite3.connect(path, isolation_level=None)
        columns = "".join(f", {_quoted(title)} REAL" for title in self._titles.values())
        self._base.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _TABLES +
            "CREATE TABLE metrics (attempt INTEGER NOT NULL, step INTEGER NOT NULL, time REAL"
            f"{columns}, PRIMARY KEY (attempt, step)) WITHOUT ROWID; BEGIN;"
        )
        self._base.executemany("INSERT INTO run VALUES (?, ?)", [
            (key, json.dumps(finite(value), allow_nan=False)) for key, value in facts(origin).items()])
        marks = ", ".join("?" * (3 + len(self._titles)))
        self._insert = f"INSERT OR IGNORE INTO metrics VALUES ({marks})"  # noqa: S608  # question marks and nothing else

    def write(self, block: Block, events: Sequence[Event]) -> None:
        """Rows of all tables."""
        names = [name for name in self._survey.names if name in block.columns]
        if names:
            there = np.logical_or.reduce([block.columns[name][1] for name in names])
            steps, nothing = block.steps[there].tolist(), [None] * int(there.sum())
            cells = [_nullable(block.columns[name], there) if name in block.columns else nothing
                     for name in self._survey.names]
            times = np.where(block.times == 0, np.nan, block.times)[there].tolist()
            self._base.executemany(self._insert, zip([block.attempt] * len(steps), steps, times, *cells, strict=True))
        for name in names:
            values, present = block.columns[name]
            odd = np.flatnonzero(present & ~np.isfinite(values))
            self._base.executemany("INSERT OR IGNORE INTO non_finite VALUES (?, ?, ?, ?)", [
                (block.attempt, step, self._titles[name], finite(value))
                for step, value in zip(block.steps[odd].tolist(), values[odd].tolist(), strict=True)])
        for (measured, layer), (at, values) in block.layers.items():
            self._base.executemany("INSERT OR IGNORE INTO tensors VALUES (?, ?, ?, ?, ?)", [
                (block.attempt, step, measured, _text(layer), value)
                for step, value in zip(block.steps[at].tolist(), values.tolist(), strict=True)])
        self._tell(events)

    def end(self, events: Sequence[Event]) -> None:
        """Everything is in the file."""
        self._tell(events)
        self._base.execute("COMMIT")
        self._base.close()

    def close(self) -> None:
        """Give the file back, finished or not. Idempotent."""
        self._base.close()

    def _tell(self, events: Sequence[Event]) -> None:
        self._base.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", [
            (e.seq, e.time, e.attempt, e.step, _text(e.kind), json.dumps(finite(e.fields), allow_nan=False))
            for e in events])


def _nullable(column: Column, rows: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> list[float]:
    """Values of some rows; NaN, which SQLite stores as NULL, where nothing was measured."""
    values, present = column
    found: list[float] = np.where(present, values, np.nan)[rows].tolist()
    return found


def _text(words: str) -> str:
    """As UTF-8 can hold it: what is half a character is spelled out."""
    return words.encode("utf-8", "backslashreplace").decode()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
