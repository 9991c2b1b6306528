"""A run of another machine as a run directory of this one, so that everything that reads runs can read it.

    <place>/h<i>/<digest>/<run>/    as `record.rundir`; one segment, replaced whole by a finer one; see `record.hosts`
    <run>/far.json                  see `record.far`; its time is when the other machine was last heard

Touches the disk. What comes is not trusted: names are those of a run's files, sizes are capped, steps only grow.
"""

from __future__ import annotations

import json
import os
import re
import struct
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tuimon import private
from tuimon.control.spool import prepare
from tuimon.record.far import Far
from tuimon.record.files import OS, write_atomically, write_fully
from tuimon.record.metrics import METRICS
from tuimon.record.rundir import RunDir, label
from tuimon.record.text import clean
from tuimon.remote.far import rows as log
from tuimon.remote.far.rows import Rows
from tuimon.remote.far.wire import WireError, unplanes
from tuimon.remote.linked import Linked

_WHOLE: Final = re.compile(
    r"(?:run|launch|label|ranks-seen)\.json|autopsy/\w[\w.-]{0,120}\.json|checkpoints/\w[\w.-]{0,120}/manifest\.json",
    re.ASCII)
_TAILS: Final = {"events.jsonl": 64 << 20, "console.log": 16 << 20}
"""Bytes that are kept of each; then it begins anew with what comes."""
MOST_WHOLE: Final = 8 << 20
MOST_SMALL: Final = 1 << 20
"""Of a file that is not the run's own description."""
MOST_FILES: Final = 600
MOST_LOG: Final = 1 << 30
"""Bytes of a picture and what came after it: beyond, the link is made anew, and with it the picture."""
_CODES: Final = {name: i for i, name in enumerate(METRICS)}


class Written:
    """One picture of the log and what came after it, as a segment is written."""

    def __init__(self, path: Path, most: int = MOST_LOG) -> None:
        self._most = most
        self._fd = private.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._offset = 0
        self.path = path
        self._sequence, self._attempt = 0, 0
        self._last, self._last_vector = -1, dict.fromkeys(log.VECTORS, -1)

    def rows(self, rows: Rows) -> None:
        """Rows, of which those that are known already are left out."""
        rows = rows.between(self._last + 1, 1 << 62)
        if len(rows) and all(a < b for a, b in zip(rows.steps, rows.steps[1:], strict=False)):
            self._last = rows.steps[-1]
            self._write(log.ROWS, log.encode(rows, _CODES))

    def frame(self, kind: int, payload: bytes) -> None:
        """Any other frame."""
        if kind == log.HEAD:
            body = json.loads(payload)
            if int(body["attempt"]) != self._attempt:
                self._attempt, self._last = int(body["attempt"]), int(body["from_step"])
                self._last_vector = dict.fromkeys(self._last_vector, self._last)
            if body.pop("world", None) is not None:
                payload = json.dumps(body).encode()   # what comes is joined already
        elif kind in self._last_vector:
            count, _ = struct.unpack_from("<II", payload)
            steps = array("q")
            steps.frombytes(payload[8:8 + 8 * min(count, 1 << 16)])
            if not steps or steps[0] <= self._last_vector[kind]:
                return
            self._last_vector[kind] = steps[-1]
        self._write(kind, payload)

    def publish(self, path: Path) -> None:
        """From now on this is the log."""
        os.rename(self.path, path)
        self.path = path

    def close(self) -> None:
        """No more comes."""
        os.close(self._fd)

    def _write(self, kind: int, payload: bytes) -> None:
        data = log.frame(kind, self._sequence, payload)
        if self._offset + len(data) > self._most:
            raise WireError(f"more than {self._most} bytes of log")
        write_fully(OS, self._fd, data, self._offset)
        self._offset += len(data)
        self._sequence += 1


class Mirror(Linked):
    """Writes down what is told of one run."""

    def __init__(self, folder: Path, run: str, host: str, *, control: bool, most: int = MOST_LOG) -> None:
        """`folder`: empty and ours; `most`: bytes of log."""
        super().__init__(RunDir(folder / label(run)), Far(host=host, control=control))
        self._host, self._most = host, most
        for path in (self.run.path, self.run.metrics):
            private.make_folder(path)   # whoever wished for it may have made it
        if control:
            prepare(self.run.commands)
        self._parts: dict[str, bytearray] = {}
        self._known: set[str] = set()
        self._pieces: dict[int | None, bytearray] = {}
        """Of vectors that come, of the picture and of what is new."""
        self._shown: Written | None = None
        self._coming: Written | None = None
        self._since: list[tuple[Rows | None, int, bytes]] = []
        """What came while a picture is coming: it goes behind that."""
        self._generation, self._is_thin = 0, False

    def take(self, head: Mapping[str, Any], body: bytes) -> None:
        """One message; WireError for one that is none."""
        try:
            self._take(head, body)
        except (ValueError, KeyError, TypeError, struct.error, OverflowError, RecursionError) as error:
            raise WireError(f"an odd message: {error!r:.200}") from None

    def _take(self, head: Mapping[str, Any], body: bytes) -> None:
        kind = head["k"]
        if kind == "file":
            self._file(str(head["name"]), int(head["at"]), int(head["size"]), body)
        elif kind == "tail":
            self._tail(str(head["name"]), body, is_new=bool(head["new"]))
        elif kind == "alive":
            alive, share = head["alive"], float(head["share"])
            self.say(alive=alive if isinstance(alive, bool) else None, share=share)
            self.is_ready = self.is_ready or head["begun"] is False   # of what has no log yet there is no picture
        elif kind == "beat":
            self._beat(head)
        elif kind == "begin":
            self._begin(int(head["g"]), thin=bool(head["thin"]))
        elif kind == "done" and self._coming is not None and head["g"] == self._generation:
            self._publish()
        elif kind == "refused":
            self.say(refused=str(json.loads(head["command"])["id"])[:80], refusal=clean(str(head["text"]), 160))
        elif kind == "trouble":
            self.say(why=clean(str(head["text"]), 160))
        elif kind == "part":
            self._piece(head, body)
        elif kind in ("rows", "frame"):
            self._log(head, body)

    def _piece(self, head: Mapping[str, Any], body: bytes) -> bytes:
        """One more piece of vectors; all that came of them."""
        generation, at = head["g"], int(head["at"])
        if generation not in (None, self._generation):
            return b""
        found = self._pieces.setdefault(generation, bytearray()) if at else bytearray()
        if at != len(found) or at + len(body) > MOST_WHOLE:
            raise WireError("pieces of vectors that do not fit")
        self._pieces[generation] = found
        found += body
        return bytes(found)

    def _log(self, head: Mapping[str, Any], body: bytes) -> None:
        generation = head.get("g")
        if generation is not None and generation != self._generation:
            return   # of a picture that was given up
        segment = self._shown if generation is None else self._coming
        if head["k"] == "rows":
            rows = log.unpack(dict(head), body)
            if self.far.skew:
                rows.times = array("d", [t + self.far.skew for t in rows.times])
            if segment is not None:
                segment.rows(rows)
            if generation is None:
                self._behind(rows, 0, b"")
                if head.get("thin") and not self.far.thin:
                    self.say(thin=True)
            return
        kind, planes = int(head["kind"]), head.get("planes")
        if kind not in (log.HEAD, log.MARK, log.GAP, *log.VECTORS):
            return   # of a later version
        if planes:
            body = self._piece({"g": generation, **head}, body)
            self._pieces[generation] = bytearray()
            whole = len(body) // 4 * 4
            body = unplanes(body[:whole], 4) + body[whole:]
        if segment is not None:
            segment.frame(kind, body)
        if generation is None:
            self._behind(None, kind, body)

    def _behind(self, rows: Rows | None, kind: int, body: bytes) -> None:
        if self._coming is not None:
            self._since.append((rows, kind, body))

    def close(self) -> None:
        """Give the files back."""
        for segment in (self._shown, self._coming):
            if segment is not None:
                segment.close()

    def _begin(self, generation: int, *, thin: bool) -> None:
        given_up, self._coming = self._coming, None
        if given_up is not None:
            given_up.close()
            given_up.path.unlink(missing_ok=True)
        self._generation, self._since, self._is_thin = generation, [], thin
        self._pieces = {None: self._pieces.get(None, bytearray())}
        self._coming = Written(self.run.metrics / f"coming-{generation}", self._most)

    def _publish(self) -> None:
        coming, shown = self._coming, self._shown
        assert coming is not None
        for rows, kind, payload in self._since:
            if rows is not None:
                coming.rows(rows)
            else:
                coming.frame(kind, payload)
        self._shown, self._coming, self._since = coming, None, []
        if shown is not None:
            shown.close()
            shown.path.unlink(missing_ok=True)   # first: a reader that saw both would go on from the one to the other
        coming.publish(self.run.metrics / f"r0-{self._generation:03d}.tlog")
        self.say(thin=self._is_thin)
        self.is_ready = True

    def _beat(self, head: Mapping[str, Any]) -> None:
        if self._shown is None or not isinstance(head.get("wall"), int | float):
            return
        wall, mono = float(head["wall"]) + self.far.skew, float(head["mono"])
        body = {"wall": wall, "mono": mono, "state": str(head["state"])[:20]}
        self._shown.frame(log.BEAT, json.dumps(body).encode())

    def _file(self, name: str, at: int, size: int, body: bytes) -> None:
        most = MOST_SMALL if "/" in name else MOST_WHOLE
        if not _WHOLE.fullmatch(name) or not 0 <= at <= size <= most or len(self._known) > MOST_FILES:
            return
        if at == 0:
            self._parts[name] = bytearray()
        part = self._parts.setdefault(name, bytearray())
        if len(part) != at or at + len(body) > size:
            raise WireError(f"{name!r:.80} in pieces that do not fit")
        part += body
        if len(part) < size:
            return
        whole = bytes(self._parts.pop(name))
        self._known.add(name)
        path = self.run.path / name
        for folder in reversed([p for p in path.parents if p.is_relative_to(self.run.path) and p != self.run.path]):
            private.make_folder(folder)
        write_atomically(str(path), self._placed(name, whole))

    def _placed(self, name: str, whole: bytes) -> bytes:
        """A file that names a process says on which machine: no process of this one is taken for it."""
        if name not in ("run.json", "launch.json"):
            return whole
        try:
            body = json.loads(whole)
            body["process"]["host"] = f"{self._host} (over ssh)"
            return json.dumps(body).encode()
        except (ValueError, KeyError, TypeError, RecursionError):
            return whole

    def _tail(self, name: str, body: bytes, *, is_new: bool) -> None:
        if name not in _TAILS:
            return
        path = self.run.path / name
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = private.open_file(path, flags)
        try:
            if is_new or os.fstat(fd).st_size > _TAILS[name]:
                os.ftruncate(fd, 0)
            os.write(fd, body)
        finally:
            os.close(fd)
