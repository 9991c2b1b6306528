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
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final, cast

import torch

from tuimon.errors import CheckpointError
from tuimon.instrument.contents import check_body, check_packing
from tuimon.instrument.host import Captured
from tuimon.instrument.portable import portable
from tuimon.private import make_folder
from tuimon.record.files import OS, Files, write_fully
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
    digest_of,
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
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ASIDE: Final = re.compile(
    r"\.tmp-[0-9a-f]{32}\.(?P<pid>[0-9]{1,10})\.(?P<started>[0-9]{1,12})\.(?P<boot>[0-9a-f]{12})\.(?P<host>[0-9a-f]{12})"
)
_TRIES: Final = 20
_BELIEVED: Final = (2, 6)
"""torch before this runs code out of a prepared file, weights_only or not (CVE-2025-32434)."""
_SOUND: Final = (2, 10)
"""torch before this has its memory corrupted by one (CVE-2026-24747)."""


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
    ) -> CheckpointInfo:
        """Write a lent copy durably, read it back, publish it, prune old ones. Gives the copy back, whatever happens.

        `overrides` (lr scale, clip), `loader` (a position) and `extra` come back from `load` as they were given;
        values that cannot be stored safely are named in the info's `left_out`. `parts` says in the manifest what was
        given, found, or not found. `healthy` defaults to what the copy knows of itself; `suspect`: something is wrong
        with the run at this moment.
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
                info = self._write(body, captured.bytes, Manifest(
                    id="", step=step, attempt=attempt, run=self.run, torch=str(torch.__version__), saved=time.time(),
                    left_out=tuple(left_out), parts=dict(parts or {}),
                ), SUSPECT if suspect else HEALTHY if (captured.proven if healthy is None else healthy) else "")
            with suppress(OSError, CheckpointError):  # what was saved is saved; the next save prunes
                self._prune()
            return info
        finally:
            captured.release()

    def _write(self, body: Mapping[str, Any], size: int, manifest: Manifest, mark: str) -> CheckpointInfo:
        begun = time.perf_counter()
        make_folder(self.directory, parents=0o700, follow=True)
        self.sweep()
        self._check_space(size)
        aside = self._aside()
        try:
            manifest = self._write_state(aside / STATE, body, manifest)
            if mark:
                self._put(aside / mark, b"")
            return replace(self._publish(aside, manifest), seconds=time.perf_counter() - begun)
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
        sink = _Sink(self._files, self._files.open(str(path), _NEW, 0o600))
        try:
            torch.save(dict(body), cast("IO[bytes]", sink))
            if sink.error is not None:
                raise sink.error
            self._files.sync(sink.fd)
            if hasattr(os, "posix_fadvise"):  # so that what is read back comes from the disk, not out of memory
                with suppress(OSError):
                    os.posix_fadvise(sink.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            self._files.close(sink.fd)
        return manifest.holding(sink.digest.hexdigest(), sink.size)

    def _publish(self, aside: Path, manifest: Manifest) -> CheckpointInfo:
        """Name, manifest, sync, verify, rename, sync: from here on it exists. Two writers never take the same number.

        What cannot be read back as it was written is never published: it would count among those kept.
        """
        for _ in range(_TRIES):
            number = 1 + max((int(i.split("-", 1)[0]) for i in self.ids()), default=0)
            manifest = manifest.named(f"{number:06d}-step-{manifest.step:09d}")
            (aside / MANIFEST).unlink(missing_ok=True)
            self._put(aside / MANIFEST, manifest.encode())
            self._sync_directory(aside)
            info = self._verified(manifest.id, aside.name)
            try:
                self._files.rename(str(aside), str(self.directory / manifest.id))
            except OSError as error:
                if (self.directory / manifest.id).is_dir():
                    continue
                raise error from None
            self._sync_directory(self.directory)
            return info
        raise CheckpointError("other writers keep taking its number")

    def _put(self, path: Path, data: bytes) -> None:
        fd = self._files.open(str(path), _NEW, 0o600)
        try:
            write_fully(self._files, fd, data, 0)
            self._files.sync(fd)
        finally:
            self._files.close(fd)

    def _sync_directory(self, path: Path) -> None:
        fd = self._files.open(str(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, 0)
        try:
            self._files.sync(fd)
        finally:
            self._files.close(fd)

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

    def _verified(self, name: str, entry: str | None = None) -> CheckpointInfo:
        begun = time.perf_counter()
        with Opened(self.directory, name, entry) as opened, opened.state() as file:
            opened.check(digest_of(file))
            return CheckpointInfo.of(opened, self.directory / name, time.perf_counter() - begun)

    def load(self, id: str) -> dict[str, Any]:  # noqa: A002  # the word users see
        """The contents, on the host, after verifying them: the same open file, so nothing can be swapped in between.

        Keys: step, attempt, tensors, plain, overrides, loader, extra.
        """
        with translated(_label(id)), Opened(self.directory, id) as opened, opened.state() as file:
            _check_torch(torch.__version__, self.directory)
            opened.check(digest_of(file))
            check_packing(file)
            file.seek(0)
            body = torch.load(file, map_location="cpu", weights_only=True)
            check_body(body, opened.manifest.step)
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
                self._put(path / mark, b"")
            else:
                os.unlink(path / mark)
            self._sync_directory(path)

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


class _Sink:
    """A file for torch.save: hashes as it writes. After an error it swallows the rest: torch's writer must finish."""

    def __init__(self, files: Files, fd: int) -> None:
        self.fd, self.size = fd, 0
        self.error: OSError | None = None
        self.digest = hashlib.sha256()
        self._files = files

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if self.error is None and len(view):
            try:
                write_fully(self._files, self.fd, view, self.size)  # type: ignore[arg-type]  # it slices only
                self.digest.update(view)
                self.size += len(view)
            except OSError as error:
                self.error = error
        return len(view)

    def flush(self) -> None:
        """Nothing is held back."""


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
