"""Any log of a training, read: which reader it is for, by contents before name. Touches the disk."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tuimon.diagnosis.context import context_of
from tuimon.diagnosis.figures import counted, trouble, unrecorded
from tuimon.diagnosis.model import RunContext
from tuimon.diagnosis.ranked import straggling
from tuimon.errors import LogError
from tuimon.formats import stored
from tuimon.formats.assemble import assemble
from tuimon.formats.csvs import read_csv
from tuimon.formats.jsons import read_json, read_json_lines
from tuimon.formats.progress import Watch, unwatched
from tuimon.formats.reading import Reading
from tuimon.formats.sources import Source, only
from tuimon.formats.table import Table
from tuimon.formats.tfevents import read_events
from tuimon.formats.wandb_log import HEAD, read_wandb
from tuimon.record.chunk import Chunk
from tuimon.record.lost import lost_words
from tuimon.record.plain import is_whole
from tuimon.record.ranks import RanksReader, reader_of
from tuimon.record.reader import LogReader
from tuimon.record.rundir import RunDir
from tuimon.record.status import Told, status, told
from tuimon.record.worlds import bytes_of


def read(path: str | os.PathLike[str]) -> Reading:
    """A run of ours, a file or a directory of another tool, as one run; a directory of several runs is refused.

    LogError, with the place and the reason in one line, for whatever cannot be read.
    """
    return read_source(only(os.fspath(path)))


def read_source(source: Source, watch: Watch = unwatched) -> Reading:
    """One run that `sources` found. LogError as for `read`."""
    try:
        if source.kind == "run":
            return read_run(RunDir(Path(source.path)), watch)
        watch("reading", math.nan)
        kind, table, total, state = _read(source, watch)
        found = assemble(table)
    except LogError as error:
        raise LogError(f"{source.path}: {error}") from None
    context = found.context if total is None else replace(found.context, total_steps=total)
    return Reading(source.path, kind, found.chunks, context, found.columns, found.cadence, found.notes, state=state)


def read_run(run: RunDir, watch: Watch = unwatched) -> Reading:
    """A run of ours, as far as it has been written. LogError where it cannot be read."""
    info = run.read_info()
    reader, size = reader_of(run.metrics), bytes_of(run.metrics)
    chunks: list[Chunk] = []
    while more := reader.poll():
        chunks += more
        watch("reading", reader.consumed / max(size, reader.consumed, 1))
    context, said = context_of(info) if info else RunContext(), told(run)
    last = max((int(chunk.steps[-1]) for chunk in chunks if len(chunk)), default=0)
    return Reading(run.name, "run", tuple(chunks), context, notes=tuple(_missing(reader, last, said)),
                   labels=said.labels, state=status(run).state)


def _missing(reader: LogReader | RanksReader, last: int, said: Told) -> Iterator[str]:
    """What a log says is not in it, by the reason that it has for that; and what cannot be read any more."""
    if said.trouble and said.step > last:
        yield f"the log ends at step {last:,}, the run at {said.step:,}: {trouble(said.trouble)}"
    rows: Counter[str] = Counter()
    for gap in reader.gaps:
        dropped = gap.get("dropped")
        rows[str(gap.get("why", ""))] += dropped if is_whole(dropped) else 0
    for why, count in rows.items():
        if count > 0:
            yield unrecorded(count, why)
    if reader.damaged:
        yield f"the log is damaged in {counted(reader.damaged, 'place')}; the rest was read"
    if isinstance(reader, RanksReader):
        ranks = reader.ranks
        if ranks.lost:
            yield f"of {ranks.world} ranks not all are there: {lost_words([(r.rank, r.state) for r in ranks.lost])}"
        if ranks.slowest is not None:
            yield straggling(ranks.slowest, ranks.ranks[ranks.slowest.rank].host)


def _read(source: Source, watch: Watch) -> tuple[str, Table, int | None, str]:
    """Kind, table, planned steps, state."""
    if source.kind == "tfevents":
        return "tfevents", read_events(source.files), None, "unknown"
    ((path, _),) = source.files
    start = stored.head(path)
    if not start:
        raise LogError("is empty")
    name = os.path.basename(path).lower()
    if start.startswith(HEAD[:4]):
        table, state = read_wandb(path)
        return "wandb", table, None, state
    if _is_record(start):
        return "tfevents", read_events(source.files), None, "unknown"
    if b"\0" in start and not start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise LogError("a binary file of a kind that is not known")
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"[") or (text.startswith(b"{") and name.endswith((".json", ".json.gz"))):
        table, total, state = read_json(path)
        return "trainer state" if name == "trainer_state.json" else "json", table, total, state
    if text.startswith(b"{") or name.endswith((".jsonl", ".jsonl.gz", ".ndjson")):
        return "jsonl", read_json_lines(path, watch), None, "unknown"
    return "csv", read_csv(path, watch), None, "unknown"


def _is_record(start: bytes) -> bool:
    """Whether a file of any name begins as an event file does: a record that holds the version of the format."""
    return start[4:8] == b"\0\0\0\0" and b"brain.Event:" in start[:64]
