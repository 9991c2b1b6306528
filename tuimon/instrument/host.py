"""Host memory for copies of the training state, and the copying. Touches device queues and host memory.

On CUDA, what only the optimizer changes is copied on a side stream while the next forward runs, and the next
optimizer step waits for that on the device (never on the host). What the forward or the loop changes (buffers, the
GradScaler) is copied in order on the current stream.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

from tuimon.errors import CheckpointError
from tuimon.instrument.restoring import copy_all
from tuimon.instrument.state import Plain, TrainingState

_SIDE: Final = ("param/", "opt/")


@dataclass(slots=True, eq=False)
class HostBuffers:
    """Reused buffers, one per key."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    generation: int = 0
    readers: set[int] = field(default_factory=set)
    """Writers that read it: while there are any it must not be overwritten, only let go."""
    copied: list[torch.cuda.Event] = field(default_factory=list)

    def shape_to(self, live: Mapping[str, Tensor]) -> None:
        """Have exactly one fitting buffer per live tensor. Allocates where there is none."""
        for key in [k for k in self.tensors if k not in live]:
            del self.tensors[key]
        for key, tensor in live.items():
            mine = self.tensors.get(key)
            if mine is None or mine.shape != tensor.shape or mine.dtype != tensor.dtype:
                self.tensors[key] = _buffer(tensor)

    def wait(self) -> None:
        """Block until the device has delivered. Never called on the hot path."""
        for event in self.copied:
            event.synchronize()  # sync: only by whoever reads the host copy

    def digest(self) -> str:
        """sha256 over keys, dtypes, shapes and bytes; hashlib lets other threads run meanwhile."""
        self.wait()
        total = hashlib.sha256()
        for key in sorted(self.tensors):
            tensor = self.tensors[key]
            total.update(f"{key}|{tensor.dtype}|{list(tensor.shape)}|".encode())
            total.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
        return total.hexdigest()


def _buffer(tensor: Tensor) -> Tensor:
    if tensor.is_cuda:
        try:
            return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        except RuntimeError:  # the locked-memory limit: pageable works, only slower and without overlap
            pass
    return torch.empty(tensor.shape, dtype=tensor.dtype)


class Captured:
    """A host copy lent to a writer: nobody overwrites it until `release`."""

    def __init__(self, step: int, host: HostBuffers, plain: Plain, *, proven: bool) -> None:
        self.step = step
        self.proven = proven
        self.plain: Mapping[str, Any] = plain
        self._host: HostBuffers | None = host
        host.readers.add(id(self))

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Key -> host tensor; waits for the device if it must. Read only."""
        if self._host is None:
            raise CheckpointError(f"the copy of step {self.step} was given back already")
        self._host.wait()
        return self._host.tensors

    @property
    def bytes(self) -> int:
        """Size of the tensors."""
        return 0 if self._host is None else size_of(self._host.tensors)

    def release(self) -> None:
        """Give the buffers back. Harmless when repeated."""
        host, self._host = self._host, None
        if host is not None:
            host.readers.discard(id(self))


def size_of(tensors: Mapping[str, Tensor]) -> int:
    """Bytes."""
    return sum(t.numel() * t.element_size() for t in tensors.values())


class Copier:
    """Live tensors into host buffers."""

    def __init__(self) -> None:
        self._streams: dict[torch.device, torch.cuda.Stream] = {}
        self._waits: list[tuple[torch.device, torch.cuda.Event]] = []

    def copy(self, live: Mapping[str, Tensor], host: HostBuffers) -> None:
        """Start copying; done at return unless CUDA is involved."""
        host.copied = []
        devices = {t.device for t in live.values() if t.is_cuda}
        if not devices:
            copy_all((host.tensors[k], t) for k, t in live.items())
            return
        beside = {k for k, t in live.items() if t.is_cuda and k.startswith(_SIDE)}
        copy_all(((host.tensors[k], t) for k, t in live.items() if k not in beside), non_blocking=True)
        for device in devices:
            with torch.cuda.device(device):
                self._copy_beside(device, {k: live[k] for k in beside if live[k].device == device}, host)

    def _copy_beside(self, device: torch.device, live: Mapping[str, Tensor], host: HostBuffers) -> None:
        current = torch.cuda.current_stream(device)
        side = self._streams.setdefault(device, torch.cuda.Stream(device))  # type: ignore[no-untyped-call]  # untyped in torch
        side.wait_stream(current)  # this step's update and the copies above come first
        with torch.cuda.stream(side):
            copy_all(((host.tensors[k], t) for k, t in live.items()), non_blocking=True)
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]  # untyped in torch
            done.record(side)
        for tensor in live.values():
            tensor.record_stream(side)  # state that is freed now must not be reused under the copy
        host.copied.append(done)
        self._waits.append((device, done))

    def order_next_step(self) -> None:
        """Make the current stream wait for the side copies: before anything writes parameters. No host wait."""
        for device, event in self._waits:
            torch.cuda.current_stream(device).wait_event(event)
        self._waits.clear()


def capture_copy(state: TrainingState, step: int) -> Captured:
    """A fresh host copy for a writer, where no snapshots are kept. Allocates; on CUDA it waits for the device."""
    live = state.tensors()
    host = HostBuffers()
    try:
        host.shape_to(live)
        copy_all(((host.tensors[k], t) for k, t in live.items()))  # sync: blocking copies
    except (RuntimeError, MemoryError) as error:
        raise CheckpointError(f"no copy of the training state: {one_line(error)}") from error
    return Captured(step, host, state.plain(step), proven=False)


def available_memory() -> int:
    """Host memory free for us, bytes: what the machine has, or less where a container limits it."""
    import psutil

    return min(int(psutil.virtual_memory().available), *_container_memory(), 1 << 62)


def _container_memory() -> Iterator[int]:
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as limit, \
                open("/sys/fs/cgroup/memory.current", encoding="ascii") as used:
            yield max(0, int(limit.read()) - int(used.read()))
    except (OSError, ValueError):  # no cgroup v2, or "max"
        return


def one_line(error: BaseException) -> str:
    """The first line of what an error says, at most 200 characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
