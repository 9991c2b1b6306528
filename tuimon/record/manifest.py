"""What a checkpoint says about itself, and the careful opening of one. Reads the disk; knows no torch.

    <run>/checkpoints/<number>-step-<step>/
        state.pt         what `instrument.checkpoints` wrote
        manifest.json    sha256 and size of each file, step, versions; ends in a sha256 of itself
        .metadata __<k>_0.distcp rank-<k>.json rank-<k>.pt    of several ranks, see `instrument.ranks.chunks`
        healthy          empty; there once the state has earned its health
        suspect          empty; there where it was taken while something was wrong, or after that began
        returned-to      empty; at the one that a rollback or `resume` went back to last
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import math
import os
import pickle
import re
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

from tuimon.errors import CheckpointError
from tuimon.record.ownership import is_ours
from tuimon.record.plain import built
from tuimon.record.text import clean

SCHEMA: Final = 1
STATE: Final = "state.pt"
MANIFEST: Final = "manifest.json"
HEALTHY: Final = "healthy"
SUSPECT: Final = "suspect"
RETURNED: Final = "returned-to"
KEEP: Final = 3
"""Newest checkpoints kept, besides the newest healthy one and the one gone back to."""
ID: Final = re.compile(r"[0-9]{6,9}-step-[0-9]{9,15}")
"""Matched whole. No dot, no slash: it cannot lead anywhere."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SHARED: Final = re.compile(r"\.metadata|(?:__[0-9]{1,5}_0\.distcp|rank-[0-9]{1,5}\.(?:json|pt))")
"""Matched whole: files of a checkpoint that several ranks wrote together."""
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MAX_MANIFEST: Final = 4 << 20
_BLOCK: Final = 4 << 20
_REASONS: Final = {
    errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file size limit is reached", errno.EROFS: "the disk is read-only",
    errno.ELOOP: "it is a symbolic link, which is not followed",
    errno.ENOTDIR: "it is not a checkpoint directory",
}


class Damaged(CheckpointError):
    """What is there is not what was written: no later attempt to read it can find it whole."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a file must be."""

    sha256: str
    size: int


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
    world: int = 1
    """Ranks that wrote it together."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """sha256 of each of their files, by its name; none where one rank wrote all."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Bytes of the same."""

    def holding(self, sha256: str, size: int) -> Manifest:
        """With the digest and size of state.pt."""
        return replace(self, sha256=sha256, size=size)

    def beside(self, world: int, files: Mapping[str, Written]) -> Manifest:
        """With the files that so many ranks wrote beside it."""
        return replace(self, world=world, digests={name: file.sha256 for name, file in files.items()},
                       sizes={name: file.size for name, file in files.items()})

    @property
    def files(self) -> dict[str, Written]:
        """Every file but this one, by its name."""
        return {STATE: Written(self.sha256, self.size),
                **{name: Written(self.digests[name], self.sizes[name]) for name in self.digests}}

    def named(self, name: str) -> Manifest:
        """With an id."""
        return replace(self, id=name)

    def encode(self) -> bytes:
        """JSON with one digest over all other fields, byte for byte reproducible."""
        fields = {"schema": SCHEMA, **asdict(self), "left_out": list(self.left_out)}
        if not self.parts:
            del fields["parts"]  # as those wrote it that had none
        if not self.digests:
            del fields["world"], fields["digests"], fields["sizes"]
        fields["check"] = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
        return json.dumps(fields, sort_keys=True, indent=1).encode() + b"\n"

    @staticmethod
    def decode(raw: bytes) -> Manifest:
        """Damaged unless every byte is as `encode` wrote it, and every field can be what it says."""
        try:
            fields = json.loads(raw)
            fields.pop("check")
            if fields.pop("schema") != SCHEMA:
                raise CheckpointError("its manifest is of another version of tuimon")
            found = built(Manifest, {**fields, "left_out": tuple(fields["left_out"])})
            if found.encode() == raw and found.is_possible():
                return found
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass
        raise Damaged("its manifest is damaged")

    def is_possible(self) -> bool:
        """Whether the fields can be those of a checkpoint; their digest only says that somebody computed it."""
        return (ID.fullmatch(self.id) is not None and int(self.id.rsplit("-", 1)[1]) == self.step
                and self.attempt > 0 and self.size >= 0 and math.isfinite(self.saved)
                and _DIGEST.fullmatch(self.sha256) is not None and self._is_shared())

    def _is_shared(self) -> bool:
        if not self.digests:
            return self.world == 1 and not self.sizes
        return (self.world > 1 and self.digests.keys() == self.sizes.keys() and min(self.sizes.values()) >= 0
                and all(_SHARED.fullmatch(name) and _DIGEST.fullmatch(told) for name, told in self.digests.items()))


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
    is_damaged: bool = False
    """Whether that will stay so; else it might be used once modes, owner or disk are as they should be."""
    suspect: bool = False
    """Whether it was taken while something was wrong, or after that had begun."""
    returned: bool = False
    """Whether a rollback or `resume` went back to it last."""
    world: int = 1
    """Ranks that wrote it together."""

    @staticmethod
    def of(opened: Opened, path: Path, seconds: float) -> CheckpointInfo:
        """From a checkpoint that is open."""
        manifest, suspect = opened.manifest, opened.has(SUSPECT)
        return CheckpointInfo(
            manifest.id, manifest.step, sum(f.size for f in manifest.files.values()), seconds, manifest.sha256, path,
            opened.has(HEALTHY) and not suspect, manifest.attempt, manifest.run, manifest.saved, manifest.left_out,
            suspect=suspect, returned=opened.has(RETURNED), world=manifest.world)

    @staticmethod
    def broken(name: str, path: Path, error: CheckpointError) -> CheckpointInfo:
        """For a directory whose manifest cannot be trusted."""
        return CheckpointInfo(name, int(name.rsplit("-", 1)[1]), 0, 0.0, "", path, problem=str(error),
                              is_damaged=isinstance(error, Damaged))


def _unwatched(_count: int) -> None:
    """Nobody looks."""


def digest_of(file: io.BufferedIOBase | BinaryIO, watch: Callable[[int], None] = _unwatched) -> str:
    """sha256 of the rest of a file. `watch` hears of each stretch that was read, in bytes."""
    total = hashlib.sha256()
    while block := file.read(_BLOCK):
        total.update(block)
        watch(len(block))
    return total.hexdigest()


class Opened:
    """A checkpoint directory held open: links not followed, foreign owners not trusted, names not resolved twice."""

    manifest: Manifest

    def __init__(self, directory: Path, name: str, entry: str | None = None) -> None:
        """`entry`: the directory in which it lies until it is published under its name."""
        if not isinstance(name, str) or not ID.fullmatch(name):
            raise CheckpointError(f"{name!r:.80} is not a checkpoint id")
        self._directory, self._name, self._entry, self._fd = directory, name, entry or name, -1

    def __enter__(self) -> Opened:  # noqa: PYI034  # Self came with Python 3.11
        base = os.open(self._directory, _FOLDER)
        try:
            _check_owner(base, base, "its directory")
            self._fd = os.open(self._entry, _FOLDER | os.O_NOFOLLOW, dir_fd=base)
            _check_owner(self._fd, base, "it")
            with self._open(MANIFEST) as file:
                self.manifest = Manifest.decode(file.read(_MAX_MANIFEST))
            if self.manifest.id != self._name:
                raise Damaged(f"its manifest belongs to {self.manifest.id}")
        except BaseException:
            if self._fd >= 0:
                os.close(self._fd)
            raise
        finally:
            os.close(base)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def _open(self, name: str) -> BinaryIO:
        try:
            fd = os.open(name, _READ, dir_fd=self._fd)
        except FileNotFoundError:
            raise Damaged(f"its {name} is missing") from None
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise CheckpointError(f"its {name} is not a file")
            _check_owner(fd, self._fd, f"its {name}")
        except BaseException:
            os.close(fd)
            raise
        return os.fdopen(fd, "rb")

    def file(self, name: str = STATE) -> BinaryIO:
        """One of its files, of the size that the manifest tells."""
        told = self.manifest.files.get(name)
        if told is None:
            raise Damaged(f"its manifest tells of no {name}")
        file = self._open(name)
        size = os.fstat(file.fileno()).st_size
        if size != told.size:
            file.close()
            raise Damaged(f"its {name} has {size} bytes instead of {told.size}")
        return file

    def check(self, file: BinaryIO, name: str = STATE, watch: Callable[[int], None] = _unwatched) -> None:
        """Damaged unless that open file has the digest that the manifest tells. `watch`: see `digest_of`."""
        digest, told = digest_of(file, watch), self.manifest.files[name].sha256
        if digest != told:
            raise Damaged(f"its {name} is damaged: sha256 {digest[:12]}… instead of {told[:12]}…")

    def verify(self, watch: Callable[[int], None] = _unwatched, *, unread: Collection[str] = ()) -> None:
        """Damaged unless each file is as it was written; of those `unread` no more than their size is looked at."""
        for name in self.manifest.files:
            with self.file(name) as file:
                if name not in unread:
                    self.check(file, name, watch)

    def has(self, name: str) -> bool:
        """Whether there is a plain file of that name."""
        try:
            return stat.S_ISREG(os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mode)
        except OSError:
            return False


def _check_owner(fd: int, folder: int, what: str) -> None:
    status = os.fstat(fd)
    if status.st_uid != 0 and not is_ours(status, folder):
        raise CheckpointError(f"{what} belongs to user {status.st_uid}: it could be changed by others")
    if status.st_mode & 0o022:
        raise CheckpointError(f"{what} is writable for others (chmod -R go-w it if it is yours)")


def ids(directory: Path) -> list[str]:
    """Ids of everything published, oldest first, damaged or not."""
    try:
        found = [n for n in os.listdir(directory) if ID.fullmatch(n)]
    except OSError:
        return []
    return sorted(found, key=lambda n: int(n.split("-")[0]))


def listed(directory: Path) -> list[CheckpointInfo]:
    """What is there, oldest first, by its manifests; those that cannot be read say why in `problem`."""
    found = []
    for name in ids(directory):
        try:
            with translated("unreadable"), Opened(directory, name) as opened:
                found.append(CheckpointInfo.of(opened, directory / name, 0.0))
        except CheckpointError as error:
            found.append(CheckpointInfo.broken(name, directory / name, error))
    return found


def retained(infos: Sequence[CheckpointInfo], keep: int = KEEP) -> dict[str, tuple[str, ...]]:
    """Which of `infos`, oldest first, the next save leaves alone, and why, in words."""
    whole = [i for i in infos if not i.problem]
    why: dict[str, tuple[str, ...]] = {i.id: (f"newest {keep}",) for i in whole[-keep:]}
    for info in [i for i in whole if i.healthy][-1:]:
        why[info.id] = (*why.get(info.id, ()), "last healthy")
    for info in whole:
        if info.returned:
            why[info.id] = (*why.get(info.id, ()), "gone back to")
    for info in infos:
        if info.problem and not info.is_damaged:
            why[info.id] = ("nothing is removed unread",)
    return why


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes one line that a user can act on."""
    try:
        yield
    except CheckpointError as error:
        raise type(error)(f"{what}: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{what}: {_REASONS.get(error.errno or 0) or error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{what}: refused, it holds more than tensors and numbers") from error
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{what}: {clean(first, 200)}") from error
