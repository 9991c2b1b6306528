"""`tuimon export`: a run or a log as a file of another format, whatever its length. Touches the disk."""

from __future__ import annotations

import math
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from typing import BinaryIO, Final, cast

from tuimon.errors import UsageError
from tuimon.formats.exports.blocks import Block, Cutter, Origin, Survey, numbered, survey
from tuimon.formats.exports.sinks import Opener, Sink
from tuimon.formats.place import check, placed
from tuimon.formats.progress import Watch, unwatched
from tuimon.formats.sources import Source
from tuimon.record.chunk import Chunk
from tuimon.record.events import Event
from tuimon.record.rundir import label


@dataclass(frozen=True, slots=True)
class Format:
    """One that tuimon can write."""

    name: str
    ending: str
    """Of a file's name."""
    sink: str
    """"module:Class", loaded when it is wanted."""
    streams: bool = True
    """Whether it can go to standard output."""
    tells: bool = False
    """Whether events have a place in it."""


FORMATS: Final[dict[str, Format]] = {
    f.name: f
    for f in (
        Format("csv", ".csv", "tuimon.formats.exports.tables:CsvSink"),
        Format("jsonl", ".jsonl", "tuimon.formats.exports.tables:JsonLinesSink", tells=True),
        Format("parquet", ".parquet", "tuimon.formats.exports.parquets:ParquetSink"),
        Format("sqlite", ".sqlite", "tuimon.formats.exports.databases:SqliteSink", streams=False, tells=True),
        Format("tfevents", ".tfevents", "tuimon.formats.exports.boards:TfeventsSink", streams=False, tells=True),
    )
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants exported, and where."""

    to: str
    """One of FORMATS."""
    output: str | None = None
    """A path, "-" for standard output, None for a file in the current directory that is named after the source."""
    metrics: tuple[str, ...] = ()
    """Those that are wanted; none: all."""
    layers: bool = False
    events: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    path: str
    """"-" for standard output."""
    rows: int
    survey: Survey
    size: int
    """Bytes; 0 for standard output."""


def export(source: Source, wish: Wish, stdout: BinaryIO | None = None, watch: Watch = unwatched) -> Exported:
    """Write one source as one file. UsageError or LogError, and then there is no file."""
    form = FORMATS[wish.to]
    if wish.events and not form.tells:
        able = ", ".join(f.name for f in FORMATS.values() if f.tells)
        raise UsageError(f"--events: {form.name} is one table, and events are no rows of it; {able} take them")
    if wish.output == "-":
        return _to_stdout(source, wish, form, stdout or sys.stdout.buffer, watch)
    path = wish.output or f"{_stem(source)}{form.ending}"
    if wish.output and os.path.isdir(path):
        path = os.path.join(path, f"{_stem(source)}{form.ending}")
    if form.name == "tfevents" and "tfevents" not in os.path.basename(path):
        raise UsageError(f"{path}: TensorBoard only reads files with tfevents in their names, as in {path}.tfevents")
    check(path, force=wish.force)  # before a long look at the source
    watch("reading", math.nan)
    origin = Origin(source, watch)
    found = survey(origin, wish.metrics, layers=wish.layers, watch=watch)
    with placed(path, force=wish.force) as aside:
        if form.name == "sqlite":
            rows = _to_database(aside, origin, found, wish, watch)
        else:
            with open(aside, "wb", buffering=1 << 20) as stream:
                rows = _pour(_opener(form)(stream, found, origin), origin, found, wish, watch)
        size = os.path.getsize(aside)
    return Exported(path, rows, found, size)


def _to_stdout(source: Source, wish: Wish, form: Format, stdout: BinaryIO, watch: Watch) -> Exported:
    if not form.streams:
        raise UsageError(f"-o -: {form.name} is no stream; name a file")
    if form.name == "parquet" and stdout.isatty():
        raise UsageError("-o -: parquet is not for a terminal; send it to a file or a program")
    watch("reading", math.nan)
    origin = Origin(source, watch)
    found = survey(origin, wish.metrics, layers=wish.layers, watch=watch)
    rows = _pour(_opener(form)(stdout, found, origin), origin, found, wish, watch)
    stdout.flush()
    return Exported("-", rows, found, 0)


def _to_database(aside: str, origin: Origin, found: Survey, wish: Wish, watch: Watch) -> int:
    from tuimon.formats.exports.databases import SqliteSink

    try:
        with closing(SqliteSink(aside, found, origin)) as sink:
            return _pour(sink, origin, found, wish, watch)
    except sqlite3.Error as error:
        raise UsageError(f"cannot be written: {error}") from None


def _opener(form: Format) -> Opener:
    module, _, name = form.sink.partition(":")
    return cast("Opener", getattr(import_module(module), name))


def _stem(source: Source) -> str:
    """A name for a file in the current directory, out of where the source lies."""
    name = os.path.basename(os.path.abspath(source.path))
    for ending in (".gz", ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".wandb"):
        name = name.removesuffix(ending)
    return label(name)


def _pour(sink: Sink, origin: Origin, found: Survey, wish: Wish, watch: Watch) -> int:
    """All blocks and events into a sink; rows that were written."""
    cutter = Cutter(origin.context, found.names, layers=wish.layers)
    news = _News(origin.events() if wish.events else iter(()))
    rows = 0

    def put(block: Block) -> None:
        nonlocal rows
        sink.write(block, news.upto(block.attempt, int(block.steps[-1])))
        rows += len(block)

    done = 0
    for attempt, chunk in numbered(_first(origin.chunks(), found.rows)):
        for block in cutter.cut(attempt, chunk):
            put(block)
        done += len(chunk)
        watch("writing", done / max(found.rows, 1))
    for block in cutter.rest():
        put(block)
    sink.end(news.rest())
    return rows


def _first(chunks: Iterator[Chunk], rows: int) -> Iterator[Chunk]:
    """As many rows as the survey has seen: a live run has grown since, perhaps by a metric that has no column."""
    for chunk in chunks:
        if len(chunk) >= rows:
            yield next(chunk.pieces([rows])) if len(chunk) > rows else chunk
            return
        rows -= len(chunk)
        yield chunk


class _News:
    """Events, handed out along with the rows they belong to."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._next = next(events, None)

    def upto(self, attempt: int, step: int) -> Sequence[Event]:
        """Those of earlier attempts, and of this one before or at a step."""
        found = []
        while self._next is not None and (self._next.attempt, self._next.step) <= (attempt, step):
            found.append(self._next)
            self._next = next(self._events, None)
        return found

    def rest(self) -> Sequence[Event]:
        """All that are left."""
        found = [] if self._next is None else [self._next, *self._events]
        self._next = None
        return found
