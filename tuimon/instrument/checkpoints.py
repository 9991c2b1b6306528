"""Checkpoints on disk: written aside, synced, renamed, read back; loaded only when every byte is as it was written.

    <directory>/.tmp-<uuid>.<whose>/          being written or removed; swept once its process is dead
    <directory>/<number>-step-<step>/
        state.pt         tensors and primitives only: torch.load(weights_only=True)
        ...              the rest, and how it is opened: see `record.manifest`

Touches the disk; meant for the writer thread. Ids are labels, never paths; numbers grow, so the newest sorts last.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol, cast

import torch

from tuimon.errors import CheckpointError
from tuimon.instrument.contents import check_body
from tuimon.instrument.durable import Sink, put, sync_folder
from tuimon.instrument.host import Captured
from tuimon.instrument.portable import portable
from tuimon.instrument.ranks.fitting import Fit, loaded
from tuimon.private import make_folder
from tuimon.record.files import OS, Files
from tuimon.record.liveness import ProcessIdentity, identity, is_alive
from tuimon.record.manifest import (
    HEALTHY,
    ID,
    KEEP,
    MANIFEST,
    RETURNED,
    STATE,
    SUSPECT,
    CheckpointInfo,
    Damaged,
    Manifest,
    Opened,
    Written,
    ids,
    listed,
    retained,
    translated,
)
from tuimon.record.rundir import runs_root

MARGIN: Final = 64 << 20
"""Bytes that a save leaves free besides 1.2 times its own size."""
_ABANDONED_S: Final = 3600.0
"""Age at which a directory that names no owner is taken for abandoned."""
_ASIDE: Final = re.compile(
    r"\.tmp-[0-9a-f]{32}\.(?P<pid>[0-9]{1,10})\.(?P<started>[0-9]{1,12})\.(?P<boot>[0-9a-f]{12})\.(?P<host>[0-9a-f]{12})"
)
_TRIES: Final = 20
_BELIEVED: Final = (2, 6)
"""torch before this runs code out of a prepared file, weights_only or not (CVE-2025-32434)."""
_SOUND: Final = (2, 10)
"""torch before this has its memory corrupted by one (CVE-2026-24747)."""


class Beside(Protocol):
    """What several ranks write of one checkpoint, each its part."""

    world: int
    bytes: int
    """Of all of them."""
    why: str
    """Why this rank writes all of it after all."""

    def write(self, aside: Path) -> Mapping[str, Written]:
        """Have it written into a directory, durably, and read back; nothing where this rank writes all of it."""


class Checkpoints:
    """One run's checkpoints. Each method raises CheckpointError, in one line, and nothing else of its own."""

    def __init__(
        self, directory: str | os.PathLike[str], *, run: str = "", keep: int = KEEP, margin: int = MARGIN,
        files: Files = OS,
    ) -> None:
        self.directory = Path(directory)
        self.run = run
        self.keep = max(1, keep)
        self.margin = margin
        self._files = files

    def save(
        self, captured: Captured, step: int | None = None, *, attempt: int = 1,
        overrides: Mapping[str, Any] | None = None, loader: Any = None, extra: Mapping[str, Any] | None = None,
        healthy: bool | None = None, suspect: bool = False, parts: Mapping[str, str] | None = None,
        beside: Beside | None = None,
    ) -> CheckpointInfo:
        """Write a lent copy durably, read it back, publish it, prune old ones. Gives the copy back, whatever happens.

        `overrides` (lr scale, clip), `loader` (a position) and `extra` come back from `load` as they were given;
        values that cannot be stored safely are named in the info's `left_out`. `parts` says in the manifest what was
        given, found, or not found. `healthy` defaults to what the copy knows of itself; `suspect`: something is wrong
        with the run at this moment. `beside`: who writes the tensors, where it is not this rank alone.
        """
        try:
            left_out: list[str] = []
            step = captured.step if step is None else step
            body = {
                "format": 1, "step": step, "attempt": attempt, "tensors": dict(captured.tensors),
                "plain": portable(captured.plain, "plain", left_out),
                "overrides": portable(dict(overrides or {}), "overrides", left_out),
                "loader": portable(loader, "loader", left_out), "extra": portable(dict(extra or {}), "extra", left_out),
            }
            with translated("not saved"):
                info = self._write(body, captured.bytes if beside is None else beside.bytes, Manifest(
                    id="", step=step, attempt=attempt, run=self.run, torch=str(torch.__version__), saved=time.time(),
                    left_out=tuple(left_out), parts=dict(parts or {}),
                ), SUSPECT if suspect else HEALTHY if (captured.proven if healthy is None else healthy) else "", beside)
            with suppress(OSError, CheckpointError):  # what was saved is saved; the next save prunes
                self._prune()
            return info
        finally:
            captured.release()

    def _write(
        self, body: dict[str, Any], size: int, manifest: Manifest, mark: str, beside: Beside | None
    ) -> CheckpointInfo:
        begun = time.perf_counter()
        make_folder(self.directory, parents=0o700, follow=True)
        self.sweep()
        self._check_space(size)
        aside, read = self._aside(), frozenset[str]()
        try:
            if beside is not None and (files := beside.write(aside)):
                manifest, read = manifest.beside(beside.world, files), frozenset(files)
                body["tensors"] = {}
            elif beside is not None:   # others may have begun in there
                shutil.rmtree(aside, ignore_errors=True)
                aside = self._aside()
                manifest = replace(manifest, parts={**manifest.parts, "ranks": beside.why})
            manifest = self._write_state(aside / STATE, body, manifest)
            if mark:
                put(aside / mark, b"", self._files)
            return replace(self._publish(aside, manifest, read), seconds=time.perf_counter() - begun)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise

    def _aside(self) -> Path:
        """A fresh directory that says in its name whose it is: there is no moment at which nobody knows."""
        me = identity()
        whose = f"{me.pid}.{me.started:.0f}.{_short(me.boot_id)}.{_short(me.host)}"
        aside = self.directory / f".tmp-{uuid.uuid4().hex}.{whose}"
        make_folder(aside, fresh=True)
        return aside

    def _check_space(self, size: int) -> None:
        free = os.statvfs(self.directory)
        needed, available = int(1.2 * size) + self.margin, free.f_bavail * free.f_frsize
        if needed > available:
            raise CheckpointError(
                f"it needs {needed / 1e9:.2f} GB and the disk has {available / 1e9:.2f} GB left"
            )

    def _write_state(self, path: Path, body: Mapping[str, Any], manifest: Manifest) -> Manifest:
        with Sink(path, self._files) as sink:
            torch.save(dict(body), sink.file)
        return manifest.holding(sink.written.sha256, sink.written.size)

    def _publish(self, aside: Path, manifest: Manifest, read: Collection[str]) -> CheckpointInfo:
        """Name, manifest, sync, verify, rename, sync: from here on it exists. Two writers never take the same number.

        What cannot be read back as it was written is never published: it would count among those kept. `read`: files
        that were read back by who wrote them.
        """
        for _ in range(_TRIES):
            number = 1 + max((int(i.split("-", 1)[0]) for i in self.ids()), default=0)
            manifest = manifest.named(f"{number:06d}-step-{manifest.step:09d}")
            (aside / MANIFEST).unlink(missing_ok=True)
            put(aside / MANIFEST, manifest.encode(), self._files)
            sync_folder(aside, self._files)
            info = self._verified(manifest.id, aside.name, read)
            try:
                self._files.rename(str(aside), str(self.directory / manifest.id))
            except OSError as error:
                if (self.directory / manifest.id).is_dir():
                    continue
                raise error from None
            sync_folder(self.directory, self._files)
            return info
        raise CheckpointError("other writers keep taking its number")

    def ids(self) -> list[str]:
        """Ids of everything published, oldest first, damaged or not."""
        return ids(self.directory)

    def list(self) -> list[CheckpointInfo]:
        """What is there, oldest first, by its manifests; those that cannot be read say why in `problem`."""
        return listed(self.directory)

    def verify(self, id: str) -> CheckpointInfo:  # noqa: A002  # the word users see
        """Read every byte and compare. CheckpointError if anything differs from what was written."""
        with translated(_label(id)):
            return self._verified(id)

    def _verified(self, name: str, entry: str | None = None, unread: Collection[str] = ()) -> CheckpointInfo:
        begun = time.perf_counter()
        with Opened(self.directory, name, entry) as opened:
            opened.verify(unread=unread)
            return CheckpointInfo.of(opened, self.directory / name, time.perf_counter() - begun)

    def load(self, id: str, fit: Fit | None = None) -> dict[str, Any]:  # noqa: A002  # the word users see
        """The contents, on the host, after verifying them: the same open file, so nothing can be swapped in between.

        `fit`: what of the tensors this rank is to hold, and which rank it is; else all of them.
        Keys: step, attempt, tensors, plain, overrides, loader, extra, notes: lines about what is not as it was saved.
        """
        with translated(_label(id)), Opened(self.directory, id) as opened:
            _check_torch(torch.__version__, self.directory)
            body = loaded(opened, STATE)
            check_body(body, opened.manifest.step)
            fit, body["notes"] = fit or Fit(), []
            if opened.manifest.digests:
                fit.read(opened, body)
            else:
                fit.cut(body)
            return cast("dict[str, Any]", body)

    def promote(self, id: str) -> None:  # noqa: A002  # the word users see
        """It has earned its health."""
        self._mark(id, HEALTHY, there=True)

    def doubt(self, id: str) -> None:  # noqa: A002  # the word users see
        """It was taken after something had begun to go wrong, whatever was thought of it before."""
        self._mark(id, SUSPECT, there=True)

    def gone_back_to(self, id: str) -> None:  # noqa: A002  # the word users see
        """A run goes on from this one: it is kept until one goes on from another."""
        self._mark(id, RETURNED, there=True)
        for info in self.list():
            if info.returned and info.id != id:
                self._mark(info.id, RETURNED, there=False)

    def _mark(self, id: str, mark: str, *, there: bool) -> None:  # noqa: A002  # the word users see
        """Durably set, or take away, what is not part of the contents. CheckpointError where it is not ours to mark."""
        with translated(f"{_label(id)}: not marked"), Opened(self.directory, id) as opened:
            if opened.has(mark) == there:
                return
            path = self.directory / id
            if there:
                put(path / mark, b"", self._files)
            else:
                os.unlink(path / mark)
            sync_folder(path, self._files)

    def _prune(self) -> None:
        """Drop what `retained` does not name. Only ever after a verified save.

        An older healthy one goes only once a newer one has been read to its last byte: disks forget.
        """
        infos, unsound = self.list(), set[str]()
        while True:
            sound = [i for i in infos if i.id not in unsound]
            kept = retained(sound, self.keep)
            gone = [i for i in infos if i.id not in kept]
            last = next((i.id for i in reversed(sound) if i.healthy), "")
            if not any(i.healthy and i.id not in unsound for i in gone):
                break
            try:
                self.verify(last)
                break
            except Damaged:
                unsound.add(last)
        for info in gone:
            aside = self._aside()
            os.rename(info.path, aside)
            shutil.rmtree(aside, ignore_errors=True)

    def sweep(self) -> tuple[str, ...]:
        """Remove what dead processes left half-written. Names removed."""
        gone = []
        for name in os.listdir(self.directory) if self.directory.is_dir() else ():
            path = self.directory / name
            if name.startswith(".tmp-") and not path.is_symlink() and _is_abandoned(path):
                shutil.rmtree(path, ignore_errors=True)
                gone.append(name)
        return tuple(gone)


def _label(name: object) -> str:
    return f"checkpoint {name}" if isinstance(name, str) and ID.fullmatch(name) else "not loaded"


def _check_torch(version: str, directory: Path) -> None:
    """CheckpointError where this torch could be made to do more than load. Files elsewhere may be anybody's."""
    found = tuple(int(n) for n in re.findall(r"[0-9]+", version)[:2])
    if found < _BELIEVED or (found < _SOUND and runs_root().resolve() not in directory.resolve().parents):
        names = "CVE-2025-32434" if found < _BELIEVED else "CVE-2026-24747"
        where = "" if found < _BELIEVED else f"; it loads checkpoints below {runs_root()} (TUIMON_RUNS) only"
        raise CheckpointError(
            f"refused: torch {version} can be harmed by a prepared file ({names}), torch 2.10 cannot{where}")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _is_abandoned(path: Path) -> bool:
    """Whether its process is dead; where it names none, whether it is old. Another machine's is left alone."""
    whose = _ASIDE.fullmatch(path.name)
    if whose is not None:
        me = identity()
        if whose["host"] != _short(me.host):
            return False
        boot = me.boot_id if whose["boot"] == _short(me.boot_id) else ""
        return is_alive(ProcessIdentity(int(whose["pid"]), float(whose["started"]), boot, me.host)) is False
    try:
        return time.time() - path.lstat().st_mtime > _ABANDONED_S
    except OSError:
        return False
