"""Opening a long run where it was left: its history out of the cache, if the log is still the one it was read from.

Touches the disk. A store is bound to the segments that were read, by their names, inodes and sizes, and by the bytes
at the beginning and before the place where reading ended: a log that was replaced, cut or changed is read again.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tuimon.record.archive import Archive, RanksArchive
from tuimon.record.cache import Cache
from tuimon.record.files import open_to_read
from tuimon.record.history import History
from tuimon.record.places import Places
from tuimon.record.probes import ProbeEntry
from tuimon.record.ranks import RanksReader, is_of_ranks, reader_of
from tuimon.record.reader import LogReader, Place, segment_number, segment_paths
from tuimon.record.remembered import place_of, places_of, recalled, told
from tuimon.record.tensors import TensorTable
from tuimon.record.worlds import world_of

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


def identity_of(metrics: Path, place: Place) -> list[list[Any]] | None:
    """What tells the part of a log up to `place` from any other; None where it is not there any more."""
    if not place.segment or is_of_ranks(place):   # a run of several ranks is read anew
        return None
    last, found = segment_number(place.segment), []
    for path in segment_paths(metrics):
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
        if stored is None or world_of(self._metrics) > 1:
            return None
        try:
            place = place_of(stored.meta)
            if stored.meta["log"] != identity_of(self._metrics, place):
                return None
            places = places_of(stored.meta, stored.arrays)
            archive = Archive(self._metrics, places)
            history = recalled(stored.meta, stored.arrays, table, probes, archive)
        except NOT_OURS:
            return None
        return Read(history, LogReader(self._metrics, start=place, places=places), places)

    def save(self, read: Read) -> bool:
        """Remember how far a log was read, and what was in it."""
        place = read.log.place
        log = identity_of(self._metrics, place)
        if log is None or not read.log.stands():   # asked last: what is told apart above is what was read
            return False
        meta, arrays = told(read.history, place, read.places)
        return self._cache.store(self._name, {**meta, "log": log}, arrays)

    def load_note(self, kind: str) -> tuple[Place, dict[str, Any]] | None:
        """Something that was said of the log as far as a place; None as above."""
        stored = self._cache.load(f"{self._name}-{kind}")
        try:
            if stored is None:
                return None
            place, body = place_of(stored.meta), stored.meta["note"]
            if stored.meta["log"] != identity_of(self._metrics, place) or not isinstance(body, dict):
                return None
        except NOT_OURS:
            return None
        return place, body

    def save_note(self, kind: str, place: Place, note: dict[str, Any]) -> bool:
        """Remember what is said of the log as far as a place."""
        log = identity_of(self._metrics, place)
        if log is None:
            return False
        return self._cache.store(f"{self._name}-{kind}", {"place": asdict(place), "log": log, "note": note}, {})


def read_anew(metrics: Path, table: TensorTable | None, probes: Sequence[ProbeEntry]) -> Read:
    """The log from its beginning."""
    places = Places()
    log = reader_of(metrics, places=places)
    archive = Archive(metrics, places) if isinstance(log, LogReader) else RanksArchive(metrics, log)
    return Read(History(table, probes, archive), log, places)
