"""events.jsonl: what happened to a run, one strict JSON object a line, for people (`tail -f | jq`) and for viewers.

Low rate: commands and their outcomes, snapshots, incidents, attempts, faults. Touches the disk.

    {"seq": 3, "time": 1763821952.1, "attempt": 1, "step": 190, "kind": "snapshot", "snapshot_step": 190, ...}
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tuimon.record.files import FULL, OS, Files, open_to_read, write_fully
from tuimon.record.plain import finite, is_whole
from tuimon.record.redact import redacted_fields

MAX_LINE: Final = 1 << 20
READ_BYTES: Final = 8 << 20
LAST_WORDS: Final = 8 << 10
"""Bytes that hold how a run ended and what of it is missing, however long its error is."""
BLOCK: Final = 4096
"""Disks keep room by so many bytes."""
MOST: Final = 2**53
"""Whole numbers beyond this were counted by nobody: JSON lets them have any length, a float does not."""
_OPEN: Final = os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_WORDS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

KINDS: Final = (
    "attempt", "state", "command", "rescue", "override", "rollback", "snapshot", "snapshot-healthy", "snapshot-void",
    "checkpoint", "incident", "note", "label", "autopsy", "fault", "gap", "end",
)


@dataclass(frozen=True, slots=True)
class Event:
    """One line."""

    seq: int
    time: float
    """Wall clock, seconds since the epoch."""
    attempt: int
    step: int
    """Last completed step when it happened."""
    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    def number(self, name: str) -> float | None:
        """A numeric field, non-finite words understood; None where it is absent or no number."""
        value = self.fields.get(name)
        if isinstance(value, str):
            return _WORDS.get(value)
        if isinstance(value, float):
            return value
        whole = self.whole(name)
        return None if whole is None else float(whole)

    def text(self, name: str) -> str:
        """A text field; "" where it is absent."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else ""

    def whole(self, name: str) -> int | None:
        """A whole-number field; None where it is absent or something else."""
        value = self.fields.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MOST else None


class EventWriter:
    """Appends lines. `append` may raise OSError, and then that line is not in the file.

    kept: bytes of the disk, where it keeps room for them, that only the last lines may use. A disk that fills up later
    takes those all the same; readers see lines like others, in their place.
    """

    def __init__(self, path: Path, attempt: int, files: Files = OS, *, kept: int = 0) -> None:
        self._files, self._attempt, self._kept = files, attempt, kept
        self._fd = files.open(str(path), _OPEN, 0o600)
        self._offset = os.fstat(self._fd).st_size
        self._seq = 0
        self._heal = self._offset > 0
        """A killed predecessor may have left half a line: a newline ends it."""
        self._room = 0
        """Up to where the disk has kept room; 0 where that is not known."""
        try:
            self._keep_room(self._offset)
        except OSError:
            pass   # full already: then it is as where no room can be kept

    def append(self, kind: str, step: int, time: float, fields: Mapping[str, Any], *, is_last: bool = False) -> None:
        """Write one event. is_last: nothing follows but what is last as well."""
        body = {"seq": self._seq, "time": time, "attempt": self._attempt, "step": step, "kind": kind,
                **redacted_fields(fields)}
        raw = json.dumps(finite(body), allow_nan=False, ensure_ascii=True).encode() + b"\n"
        if self._heal:
            raw = b"\n" + raw
        if not is_last:
            self._keep_room(self._offset + len(raw))
        try:
            write_fully(self._files, self._fd, raw, self._offset)
        except OSError:
            self._room = 0   # cutting off what was half written has given it up
            raise
        self._offset += len(raw)
        self._seq += 1
        self._heal = False

    def _keep_room(self, end: int) -> None:
        """So that the last lines fit behind `end`. OSError where the disk is full and only their room is left."""
        wanted = -(-(end + self._kept) // BLOCK) * BLOCK
        if not self._kept or wanted <= self._room:
            return
        try:
            self._files.reserve(self._fd, self._offset, wanted - self._offset)
        except OSError as error:
            if self._room and error.errno in FULL:
                raise
        else:
            self._room = wanted

    def sync(self) -> None:
        """Make what was written durable."""
        self._files.sync(self._fd)

    def close(self) -> None:
        """Give the file back. Idempotent."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._files.close(fd)


class EventReader:
    """Follows the file. Never raises on damage: counts lines that are no event."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0
        self.damaged = 0

    def poll(self) -> list[Event]:
        """Complete lines added since the last poll, a few MB of them; [] where nothing is new."""
        while True:
            before = self._offset
            found = self._read()
            if found or self._offset == before:
                return found

    def _read(self) -> list[Event]:
        try:
            fd = open_to_read(self._path)
        except OSError:
            return []
        try:
            data = os.pread(fd, READ_BYTES, self._offset)
        except OSError:
            return []
        finally:
            os.close(fd)
        end = data.rfind(b"\n") + 1
        if end == 0 and len(data) >= READ_BYTES:
            end = len(data)  # a line that never ends is damage, not something to wait for
        self._offset += end
        found = [_parse(line) for line in data[:end].split(b"\n") if line.strip()]
        self.damaged += found.count(None)
        return [event for event in found if event is not None]


def last_events(path: Path, size: int) -> tuple[list[Event], bool]:
    """The events in the last `size` bytes of the file, and whether these are all. Never raises."""
    try:
        fd = open_to_read(path)
    except OSError:
        return [], True
    try:
        start = max(0, os.fstat(fd).st_size - size)
        data = os.pread(fd, size, start)
    except OSError:
        return [], True
    finally:
        os.close(fd)
    lines = data[:data.rfind(b"\n") + 1].split(b"\n")[1 if start else 0:]  # the first may be half a line
    return [event for line in lines if (event := _parse(line)) is not None], start == 0


def _parse(line: bytes) -> Event | None:
    if len(line) > MAX_LINE:
        return None
    try:
        body = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    try:
        seq, step, attempt = int(body.pop("seq")), int(body.pop("step")), int(body.pop("attempt"))
        time, kind = float(body.pop("time")), body.pop("kind")
        if not (math.isfinite(time) and is_whole(seq) and is_whole(attempt)):
            return None
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return Event(seq, time, attempt, step, kind, body) if isinstance(kind, str) and abs(step) <= MOST else None
