"""Opening a long run where it was left: its history out of the cache, if the log is still the one it was read from.

Touches the disk. A store is bound to the segments that were read, by their names, inodes and sizes, and by the bytes
at the beginning and before the place where reading ended: a log that was replaced, cut or changed is read again.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tuimon.record.archive import Archive, RanksArchive
from tuimon.record.cache import Cache
from tuimon.record.files import open_to_read
from tuimon.record.halts import halt_of, place_of
from tuimon.record.halts import told as halted
from tuimon.record.history import History
from tuimon.record.places import Places
from tuimon.record.probes import ProbeEntry
from tuimon.record.ranks import RanksReader, reader_of
from tuimon.record.reader import LogReader, Place, segment_number
from tuimon.record.remembered import places_of, recalled, told
from tuimon.record.tensors import TensorTable
from tuimon.record.worlds import segments_of, world_of

LOOKED_AT: Final = 4096
"""Bytes at either end of what was read of a segment, of which a checksum is kept."""
NOT_OURS: Final = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError)
"""What comes of a store that is sound and holds something else."""


@dataclass(frozen=True, slots=True)
class Read:
    """A log as far as it has been read."""

    history: History
    log: LogReader | RanksReader
    places: Places


def identity_of(metrics: Path, places: Sequence[Place]) -> list[list[Any]] | None:
    """What tells the logs of all ranks up to these places from any others; None where they are not there any more."""
    found, segments = [], segments_of(metrics)
    for rank, place in enumerate(places):
        one = _identity(segments.get(rank, []), place) if place.segment or rank else None
        if one is None:
            return None
        found.append(one)
    return found


def _identity(paths: Sequence[Path], place: Place) -> list[Any] | None:
    if not place.segment:
        return []   # a rank of which nothing was read
    last, found = segment_number(place.segment), list[Any]()
    for path in paths:
        if segment_number(path.name) > last:
            break
        try:
            fd = open_to_read(path)
        except OSError:
            return None
        try:
            is_last = path.name == place.segment
            status = os.fstat(fd)
            read = place.offset if is_last else status.st_size
            if status.st_size < read:
                return None
            ends = [os.pread(fd, min(LOOKED_AT, read), at) for at in (0, max(0, read - LOOKED_AT))]
        except OSError:
            return None
        finally:
            os.close(fd)
        found.append([path.name, status.st_ino, read, *(zlib.crc32(end) for end in ends)])
    return found if found and found[-1][0] == place.segment else None


class Recall:
    """The stores of one run."""

    def __init__(self, cache: Cache, metrics: Path) -> None:
        self._cache, self._metrics = cache, metrics
        self._name = hashlib.sha256(os.fsencode(os.path.realpath(metrics))).hexdigest()[:40]

    def load(self, table: TensorTable | None, probes: Sequence[ProbeEntry]) -> Read | None:
        """The log as it was read last; None where that is not known or does not hold any more."""
        stored = self._cache.load(self._name)
        if stored is None:
            return None
        try:
            meta, arrays = stored.meta, stored.arrays
            if ("ranks" in meta) != (world_of(self._metrics) > 1) or not self._holds(meta):
                return None
            log: LogReader | RanksReader
            archive: Archive | RanksArchive
            places = places_of(meta, arrays)
            if "ranks" in meta:
                halt = halt_of(meta["ranks"], arrays)
                log = RanksReader(self._metrics, len(halt.lines), halt=halt)
                archive = RanksArchive(self._metrics, log)
            else:
                log = LogReader(self._metrics, start=place_of(meta["place"]), places=places)
                archive = Archive(self._metrics, places)
            history = recalled(meta, arrays, table, probes, archive)
        except NOT_OURS:
            return None
        return Read(history, log, places)

    def save(self, read: Read) -> bool:
        """Remember how far a log was read, and what was in it."""
        meta, arrays = told(read.history, read.log.place, read.places)
        if isinstance(read.log, RanksReader) and (halt := read.log.halt) is not None:
            meta["ranks"], more = halted(halt)
            arrays |= more
        log = self._log(read.log)
        if log is None or not read.log.stands():   # asked last: what is told apart above is what was read
            return False
        return self._cache.store(self._name, {**meta, **log}, arrays)

    def _log(self, log: LogReader | RanksReader) -> dict[str, Any] | None:
        """What the logs were, as far as they were read."""
        halt = log.halt if isinstance(log, RanksReader) else None
        read = [log.place] if isinstance(log, LogReader) else [line.place for line in halt.lines] if halt else []
        found = identity_of(self._metrics, read) if read else None
        return None if found is None else {"read": [asdict(place) for place in read], "log": found}

    def _holds(self, meta: Mapping[str, Any]) -> bool:
        """Whether they still are."""
        return bool(meta["read"]) and meta["log"] == identity_of(self._metrics, [place_of(one) for one in meta["read"]])

    def load_note(self, kind: str) -> tuple[Place, dict[str, Any]] | None:
        """Something that was said of the log as far as a place; None as above."""
        stored = self._cache.load(f"{self._name}-{kind}")
        try:
            if stored is None:
                return None
            place, body = place_of(stored.meta["place"]), stored.meta["note"]
            if not self._holds(stored.meta) or not isinstance(body, dict):
                return None
        except NOT_OURS:
            return None
        return place, body

    def save_note(self, kind: str, read: LogReader | RanksReader, note: dict[str, Any]) -> bool:
        """Remember what is said of the log as far as it was read."""
        log = self._log(read)
        if log is None:
            return False
        return self._cache.store(f"{self._name}-{kind}", {"place": asdict(read.place), **log, "note": note}, {})


def read_anew(metrics: Path, table: TensorTable | None, probes: Sequence[ProbeEntry]) -> Read:
    """The log from its beginning."""
    places = Places()
    log = reader_of(metrics, places=places)
    archive = Archive(metrics, places) if isinstance(log, LogReader) else RanksArchive(metrics, log)
    return Read(History(table, probes, archive), log, places)
