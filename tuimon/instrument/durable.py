"""Files that are written once, hashed as they are written, and read back before anybody counts on them.

Private from the moment they exist, never over one that is there. Touches the disk; for background threads.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, cast

from tuimon.errors import CheckpointError
from tuimon.record.files import OS, Files, write_fully
from tuimon.record.manifest import Written, digest_of

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Sink:
    """A new file for torch.save, durable at the end of the block.

    After an error it swallows the rest, for torch's writer must finish; the error comes at the end.
    """

    def __init__(self, path: Path, files: Files = OS) -> None:
        self.size = 0
        self._error: OSError | None = None
        self._digest = hashlib.sha256()
        self._files = files
        self._fd = files.open(str(path), _NEW, 0o600)

    def __enter__(self) -> Sink:  # noqa: PYI034  # Self came with Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
        finally:
            self._files.close(self._fd)

    def _finish(self) -> None:
        if self._error is not None:
            raise self._error
        self._files.sync(self._fd)
        if hasattr(os, "posix_fadvise"):  # so that what is read back comes from the disk, not out of memory
            with suppress(OSError):
                os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    @property
    def file(self) -> IO[bytes]:
        """As torch wants it."""
        return cast("IO[bytes]", self)

    @property
    def written(self) -> Written:
        """What the file must be."""
        return Written(self._digest.hexdigest(), self.size)

    def write(self, data: Any) -> int:
        """Append."""
        view = memoryview(data).cast("B")
        if self._error is None and len(view):
            try:
                write_fully(self._files, self._fd, view, self.size)  # type: ignore[arg-type]  # it slices only
                self._digest.update(view)
                self.size += len(view)
            except OSError as error:
                self._error = error
        return len(view)

    def flush(self) -> None:
        """Nothing is held back."""


def put(path: Path, data: bytes, files: Files = OS) -> Written:
    """The same with all of it at hand."""
    with Sink(path, files) as sink:
        sink.write(data)
    return sink.written


def sync_folder(path: Path, files: Files = OS) -> None:
    """Make durable which files there are."""
    fd = files.open(str(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, 0)
    try:
        files.sync(fd)
    finally:
        files.close(fd)


def read_back(path: Path, told: Written) -> None:
    """CheckpointError where the disk gives back something else."""
    with path.open("rb") as file:
        if digest_of(file) != told.sha256:
            raise CheckpointError(f"its {path.name} cannot be read back as it was written")
