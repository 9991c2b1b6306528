"""The runs of another machine as a file that grows, which whoever lists runs reads (see `record.merged`).

Touches the disk. What comes is not trusted: keys are names of directories, fields are those that are known, and all is
capped. What the texts hold is cleaned where they are read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tuimon.private import make_folder
from tuimon.record.far import Far
from tuimon.record.files import OS, write_atomically, write_fully
from tuimon.record.hosts import LIST, REACHING, answer, digest
from tuimon.record.rundir import RunDir
from tuimon.remote.far.wire import WireError
from tuimon.remote.linked import Linked

NUMBER: Final = -1
"""What the messages of the list bear, see `far.hub`."""
FIELDS: Final = frozenset((
    "state", "why", "attempt", "step", "loss", "lr", "verdict", "headline", "since", "is_full", "last_sign",
    "run_name", "label", "note", "started", "total", "device", "model", "optimizer", "host", "pid", "world",
    "lost", "parameters", "argv", "bytes", "checkpoints", "losses", "best_val", "best_val_step"))
MOST_RUNS: Final = 20_000
MOST_ONE: Final = 8_000
"""Bytes of what is told of one run at once."""
SPARE: Final = 1 << 20
"""Bytes that the file may hold more than is needed before it is written anew."""


class Listed(Linked):
    """Writes down what is told of the runs of one host."""

    def __init__(self, place: Path, host: str, root: str | None, *, control: bool) -> None:
        """`place`: of the host; `root`: where its runs are, or where it looks by itself."""
        make_folder(place)
        super().__init__(RunDir(place), Far(host=host, state=REACHING, control=control))
        self.say()
        self._asked_root, self._control = root, control
        self.root = ""
        """Where the runs are, as the host says."""
        self.runs: dict[str, dict[str, Any]] = {}
        self.by_digest: dict[str, str] = {}
        self._again: set[str] = set()
        """Runs that were known before the link was lost, and were not told since."""
        self._left = -1
        self._size, self._kept = 0, 0

    @property
    def question(self) -> dict[str, Any]:
        """What is asked there."""
        return {"k": "list", "c": NUMBER, "root": self._asked_root, "control": self._control}

    def take(self, head: Mapping[str, Any], body: bytes) -> None:
        """One message; WireError for one that is none."""
        try:
            self._take(head, body)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise WireError(f"an odd message: {error!r:.200}") from None

    def _take(self, head: Mapping[str, Any], body: bytes) -> None:
        kind = head["k"]
        if kind == "listed":
            self.root = str(head["root"])[:4096]
            self._again, self._left = set(self.runs), -1
        elif kind == "done":
            answer(self.run.path, int(head["serial"]), str(head["why"])[:300])
        elif kind == "runs":
            changes = json.loads(body)
            lines: list[dict[str, Any]] = [self._forget(key) for key in head["gone"] if key in self.runs]
            lines += [self._learn(key, change) for key, change in changes.items() if is_key(key)]
            left = int(head["left"])
            if left == 0 and self._again:
                lines += [self._forget(key) for key in sorted(self._again)]
            if left != self._left:
                self._left = left
                lines.append({"left": max(0, left), "root": self.root})
            self._write([line for line in lines if line])
            self.is_ready = self.is_ready or left == 0

    def _learn(self, key: str, change: Any) -> dict[str, Any]:
        if key not in self.runs and len(self.runs) >= MOST_RUNS:
            return {}
        known = {name: value for name, value in change.items() if name in FIELDS}
        if len(json.dumps(known)) > MOST_ONE:
            return {}
        self.runs[key] = {**self.runs.get(key, {}), **known}
        self.by_digest[digest(key)] = key
        self._again.discard(key)
        return {"run": key, **known}

    def _forget(self, key: str) -> dict[str, Any]:
        self.runs.pop(key, None)
        self.by_digest.pop(digest(key), None)
        self._again.discard(key)
        return {"gone": key}

    def _write(self, lines: list[dict[str, Any]]) -> None:
        if not lines:
            return
        data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        path = self.run.path / LIST
        if self._size and self._size + len(data) <= 2 * self._kept + SPARE:
            fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                write_fully(OS, fd, data, self._size)
            finally:
                os.close(fd)
            self._size += len(data)
            return
        whole: list[dict[str, Any]] = [{"run": key, **one} for key, one in self.runs.items()]
        whole.append({"left": max(0, self._left), "root": self.root})
        data = b"".join(json.dumps(line).encode() + b"\n" for line in whole)
        write_atomically(str(path), data)   # whoever reads it notices that it is another file
        self._size = self._kept = len(data)


def is_key(key: object) -> bool:
    """Whether a run's directory can be called so."""
    return isinstance(key, str) and 0 < len(key) <= 255 and not {"/", "\0"} & {*key} and key not in (".", "..")
