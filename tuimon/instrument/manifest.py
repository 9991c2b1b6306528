"""What a checkpoint says about itself, and the careful opening of one. Reads the disk; never writes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final

import torch
from torch import Tensor

from tuimon.errors import CheckpointError

SCHEMA: Final = 1
STATE: Final = "state.pt"
MANIFEST: Final = "manifest.json"
ID: Final = re.compile(r"[0-9]{6,9}-step-[0-9]{9,15}")
"""Matched whole. No dot, no slash: it cannot lead anywhere."""
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MAX_MANIFEST: Final = 1 << 20
_BLOCK: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """The fields of manifest.json."""

    id: str
    """The directory's name: a copy under another name is refused."""
    step: int
    attempt: int
    run: str
    torch: str
    """Version that wrote it."""
    saved: float
    """Wall clock, seconds since the epoch; a label, nothing is ordered by it."""
    sha256: str = ""
    size: int = 0
    """Bytes of state.pt."""
    left_out: tuple[str, ...] = ()
    """Values that could not be stored safely, by their place."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """What it holds besides weights and optimizers, and whether that was given or found; a label."""

    def holding(self, sha256: str, size: int) -> Manifest:
        """With the digest and size of state.pt."""
        return replace(self, sha256=sha256, size=size)

    def named(self, name: str) -> Manifest:
        """With an id."""
        return replace(self, id=name)

    def encode(self) -> bytes:
        """JSON with one digest over all other fields, byte for byte reproducible."""
        fields = {"schema": SCHEMA, **asdict(self), "left_out": list(self.left_out)}
        if not self.parts:
            del fields["parts"]  # as those wrote it that had none
        fields["check"] = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
        return json.dumps(fields, sort_keys=True, indent=1).encode() + b"\n"

    @staticmethod
    def decode(raw: bytes) -> Manifest:
        """CheckpointError unless every byte is as `encode` wrote it."""
        try:
            fields = json.loads(raw)
            fields.pop("check")
            if fields.pop("schema") != SCHEMA:
                raise CheckpointError("its manifest is of another version of tuimon")
            found = Manifest(**{**fields, "left_out": tuple(fields["left_out"])})
            if found.encode() == raw:
                return found
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass
        raise CheckpointError("its manifest is damaged")


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """One checkpoint, as its manifest describes it."""

    id: str
    step: int
    bytes: int
    seconds: float
    """What the call took that returned this."""
    sha256: str
    path: Path
    healthy: bool = False
    """Whether its state had earned its health."""
    attempt: int = 1
    run: str = ""
    saved: float = 0.0
    left_out: tuple[str, ...] = ()
    problem: str = ""
    """Why it cannot be used; "" where nothing is known against it."""

    @staticmethod
    def of(manifest: Manifest, path: Path, seconds: float, *, healthy: bool) -> CheckpointInfo:
        """From a manifest."""
        return CheckpointInfo(manifest.id, manifest.step, manifest.size, seconds, manifest.sha256, path, healthy,
                              manifest.attempt, manifest.run, manifest.saved, manifest.left_out)

    @staticmethod
    def broken(name: str, path: Path, problem: str) -> CheckpointInfo:
        """For a directory whose manifest cannot be trusted."""
        return CheckpointInfo(name, int(name.rsplit("-", 1)[1]), 0, 0.0, "", path, problem=problem)


class Opened:
    """A checkpoint directory held open: links not followed, foreign owners not trusted, names not resolved twice."""

    manifest: Manifest

    def __init__(self, directory: Path, name: str) -> None:
        if not isinstance(name, str) or not ID.fullmatch(name):
            raise CheckpointError(f"{name!r:.80} is not a checkpoint id")
        self._directory, self._name, self._fd = directory, name, -1

    def __enter__(self) -> Opened:  # noqa: PYI034  # Self came with Python 3.11
        base = os.open(self._directory, _FOLDER)
        try:
            _check_owner(base, "its directory")
            self._fd = os.open(self._name, _FOLDER | os.O_NOFOLLOW, dir_fd=base)
        finally:
            os.close(base)
        try:
            _check_owner(self._fd, "it")
            with self._open(MANIFEST) as file:
                self.manifest = Manifest.decode(file.read(_MAX_MANIFEST))
            if self.manifest.id != self._name:
                raise CheckpointError(f"its manifest belongs to {self.manifest.id!r:.60}")
        except BaseException:
            os.close(self._fd)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def _open(self, name: str) -> BinaryIO:
        fd = os.open(name, _READ, dir_fd=self._fd)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise CheckpointError(f"its {name} is not a file")
            _check_owner(fd, f"its {name}")
        except BaseException:
            os.close(fd)
            raise
        return os.fdopen(fd, "rb")

    def state(self) -> BinaryIO:
        """state.pt, of the size that the manifest tells."""
        file = self._open(STATE)
        size = os.fstat(file.fileno()).st_size
        if size != self.manifest.size:
            file.close()
            raise CheckpointError(f"its {STATE} has {size} bytes instead of {self.manifest.size}")
        return file

    def check(self, digest: str) -> None:
        """CheckpointError unless state.pt has this digest."""
        if digest != self.manifest.sha256:
            told = self.manifest.sha256
            raise CheckpointError(f"its {STATE} is damaged: sha256 {digest[:12]}… instead of {told[:12]}…")

    def has(self, name: str) -> bool:
        """Whether there is a plain file of that name."""
        try:
            return stat.S_ISREG(os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mode)
        except OSError:
            return False


def _check_owner(fd: int, what: str) -> None:
    status = os.fstat(fd)
    if status.st_uid not in (os.geteuid(), 0):
        raise CheckpointError(f"{what} belongs to user {status.st_uid}: it could be changed by others")
    if status.st_mode & 0o022:
        raise CheckpointError(f"{what} is writable for others (chmod -R go-w it if it is yours)")


def digest_of(file: io.BufferedIOBase | BinaryIO) -> str:
    """sha256 of the rest of a file."""
    total = hashlib.sha256()
    while block := file.read(_BLOCK):
        total.update(block)
    return total.hexdigest()


_LEFT: Final = object()


def portable(value: Any, where: str, left_out: list[str]) -> Any:
    """`value` in types that torch.load(weights_only=True) admits: primitives, containers of them, host tensors.

    What cannot be (functions, sets, objects) is dropped and its place noted in `left_out`; None at the top.
    """
    found = _portable(value, where, left_out)
    return None if found is _LEFT else found


def _portable(value: Any, where: str, left_out: list[str]) -> Any:
    if value is None or type(value) in (bool, int, float, str, bytes, torch.dtype):
        return value
    if isinstance(value, Tensor) and value.layout is torch.strided:
        host = value.detach().cpu()  # sync: in the writer thread
        return host if host.untyped_storage().nbytes() == host.numel() * host.element_size() else host.clone()
    if isinstance(value, dict):
        return _portable_dict(value, where, left_out)
    if isinstance(value, list | tuple):
        items = [_portable(v, f"{where}[{i}]", left_out) for i, v in enumerate(value)]
        kept = [None if v is _LEFT else v for v in items]
        return kept if isinstance(value, list) else tuple(kept)
    for kind in (int, float, str):  # enums, numpy.float64: what they are, without their class
        if isinstance(value, kind):
            return kind(value)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return _portable(value.tolist(), where, left_out)
    left_out.append(f"{where} ({type(value).__name__})"[:200])
    return _LEFT


def _portable_dict(value: dict[Any, Any], where: str, left_out: list[str]) -> dict[Any, Any]:
    kept: dict[Any, Any] = type(value)() if type(value) in (Counter, OrderedDict) else {}
    for key, item in value.items():
        plain = key if key is None or type(key) in (bool, int, float, str, bytes) else _LEFT
        found = _portable(item, f"{where}.{key}", left_out) if plain is not _LEFT else _LEFT
        if plain is _LEFT:
            left_out.append(f"{where}[{key!r:.60}]")
        elif found is not _LEFT:
            kept[plain] = found
    return kept
