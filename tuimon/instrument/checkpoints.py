"""Checkpoints on disk: written aside, synced, renamed, read back; loaded only when every byte is as it was written.

    <directory>/.tmp-<uuid>.<whose>/          being written or removed; swept once its process is dead
    <directory>/<number>-step-<step>/
        state.pt         tensors and primitives only: torch.load(weights_only=True)
        manifest.json    sha256 and size of state.pt, step, versions; ends in a sha256 of itself
        healthy          empty; there once the state has earned its health

Touches the disk; meant for the writer thread. Ids are labels, never paths; numbers grow, so the newest sorts last.
"""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, cast

import torch
from torch import Tensor

from tuimon.errors import CheckpointError
from tuimon.instrument.host import Captured, one_line
from tuimon.instrument.manifest import (
    ID,
    MANIFEST,
    STATE,
    CheckpointInfo,
    Manifest,
    Opened,
    digest_of,
    portable,
)
from tuimon.private import make_folder
from tuimon.record.files import OS, Files, write_fully
from tuimon.record.liveness import ProcessIdentity, identity, is_alive

KEEP: Final = 3
"""Newest checkpoints kept, besides the newest healthy one."""
MARGIN: Final = 64 << 20
"""Bytes that a save leaves free besides 1.2 times its own size."""
_ABANDONED_S: Final = 3600.0
"""Age at which a directory that names no owner is taken for abandoned."""
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ASIDE: Final = re.compile(
    r"\.tmp-[0-9a-f]{32}\.(?P<pid>[0-9]{1,10})\.(?P<started>[0-9]{1,12})\.(?P<boot>[0-9a-f]{12})\.(?P<host>[0-9a-f]{12})"
)
_TRIES: Final = 20
_REASONS: Final = {
    errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file size limit is reached", errno.EROFS: "the disk is read-only",
    errno.ELOOP: "it is a symbolic link, which is not followed",
    errno.ENOTDIR: "it is not a checkpoint directory",
}

__all__ = ["CheckpointInfo", "Checkpoints"]


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
        healthy: bool | None = None, parts: Mapping[str, str] | None = None,
    ) -> CheckpointInfo:
        """Write a lent copy durably, read it back, prune old ones. Gives the copy back, whatever happens.

        `overrides` (lr scale, clip), `loader` (a position) and `extra` come back from `load` as they were given;
        values that cannot be stored safely are named in the info's `left_out`. `parts` says in the manifest what was
        given, found, or not found. `healthy` defaults to what the copy
        knows of itself.
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
            with _translated("not saved"):
                info = self._write(body, captured.bytes, Manifest(
                    id="", step=step, attempt=attempt, run=self.run, torch=str(torch.__version__), saved=time.time(),
                    left_out=tuple(left_out), parts=dict(parts or {}),
                ), healthy=captured.proven if healthy is None else healthy)
            with suppress(OSError):  # what was saved is saved; the next save prunes
                self._prune()
            return info
        finally:
            captured.release()

    def _write(self, body: Mapping[str, Any], size: int, manifest: Manifest, *, healthy: bool) -> CheckpointInfo:
        begun = time.perf_counter()
        make_folder(self.directory, parents=0o700, follow=True)
        self.sweep()
        self._check_space(size)
        aside = self._aside()
        try:
            manifest = self._write_state(aside / STATE, body, manifest)
            if healthy:
                self._put(aside / "healthy", b"")
            manifest = self._publish(aside, manifest)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        self.verify(manifest.id)
        return CheckpointInfo.of(manifest, self.directory / manifest.id, time.perf_counter() - begun, healthy=healthy)

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
        finally:
            self._files.close(sink.fd)
        return manifest.holding(sink.digest.hexdigest(), sink.size)

    def _publish(self, aside: Path, manifest: Manifest) -> Manifest:
        """Name, manifest, sync, rename, sync: from here on it exists. Two writers never take the same number."""
        for _ in range(_TRIES):
            number = 1 + max((int(i.split("-", 1)[0]) for i in self.ids()), default=0)
            manifest = manifest.named(f"{number:06d}-step-{manifest.step:09d}")
            (aside / MANIFEST).unlink(missing_ok=True)
            self._put(aside / MANIFEST, manifest.encode())
            self._sync_directory(aside)
            try:
                self._files.rename(str(aside), str(self.directory / manifest.id))
            except OSError as error:
                if (self.directory / manifest.id).is_dir():
                    continue
                raise error from None
            self._sync_directory(self.directory)
            return manifest
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
        try:
            found = [n for n in os.listdir(self.directory) if ID.fullmatch(n)]
        except OSError:
            return []
        return sorted(found, key=lambda n: int(n.split("-")[0]))

    def list(self) -> list[CheckpointInfo]:
        """What is there, oldest first, by its manifests; those that cannot be read say why in `problem`."""
        found = []
        for name in self.ids():
            try:
                with _translated("unreadable"), Opened(self.directory, name) as opened:
                    found.append(CheckpointInfo.of(
                        opened.manifest, self.directory / name, 0.0, healthy=opened.has("healthy")))
            except CheckpointError as error:
                found.append(CheckpointInfo.broken(name, self.directory / name, str(error)))
        return found

    def verify(self, id: str) -> CheckpointInfo:  # noqa: A002  # the word users see
        """Read every byte and compare. CheckpointError if anything differs from what was written."""
        begun = time.perf_counter()
        with _translated(_label(id)), Opened(self.directory, id) as opened, opened.state() as file:
            opened.check(digest_of(file))
            healthy = opened.has("healthy")
            return CheckpointInfo.of(opened.manifest, self.directory / id, time.perf_counter() - begun, healthy=healthy)

    def load(self, id: str) -> dict[str, Any]:  # noqa: A002  # the word users see
        """The contents, on the host, after verifying them: the same open file, so nothing can be swapped in between.

        Keys: step, attempt, tensors, plain, overrides, loader, extra.
        """
        with _translated(_label(id)), Opened(self.directory, id) as opened, opened.state() as file:
            opened.check(digest_of(file))
            file.seek(0)
            body = torch.load(file, map_location="cpu", weights_only=True)
            return _checked(body, opened.manifest)

    def promote(self, step: int) -> tuple[str, ...]:
        """Mark the checkpoints of `step` as having earned their health. Their ids."""
        marked = []
        for info in self.list():
            if info.step == step and not info.problem:
                with _translated("not marked"):
                    if not info.healthy:
                        self._put(info.path / "healthy", b"")
                    marked.append(info.id)
        return tuple(marked)

    def _prune(self) -> None:
        """Drop the oldest beyond `keep`, never the newest healthy one. Only ever after a verified save."""
        infos = self.list()
        healthy = [i.id for i in infos if i.healthy][-1:]
        whole = [i.id for i in infos if not i.problem]
        for info in infos:
            if info.id not in whole[-self.keep:] and info.id not in healthy:
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


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes one line that a user can act on."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{what}: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{what}: {_REASONS.get(error.errno or 0) or error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{what}: refused, it holds more than tensors and numbers") from error
    except Exception as error:
        raise CheckpointError(f"{what}: {one_line(error)}") from error


def _label(name: object) -> str:
    return f"checkpoint {name}" if isinstance(name, str) and ID.fullmatch(name) else "not loaded"


def _checked(body: Any, manifest: Manifest) -> dict[str, Any]:
    """`body` if it has the shape of ours; what is inside `plain` is checked against the run when it is restored."""
    if not isinstance(body, dict) or body.get("format") != 1:
        raise CheckpointError("its contents are of another version of tuimon")
    tensors, plain = body.get("tensors"), body.get("plain")
    if body.get("step") != manifest.step or not isinstance(tensors, dict) or not isinstance(plain, dict):
        raise CheckpointError("its contents do not match its manifest")
    if not all(isinstance(k, str) and isinstance(t, Tensor) for k, t in tensors.items()):
        raise CheckpointError("its contents are not a training state")
    return body


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
