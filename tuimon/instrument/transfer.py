"""From the device to the host, never waiting: rows through a ring, single numbers as parcels.

The only file that turns tensors into numbers. A copy is queued and an event recorded behind it; later somebody asks
whether it has arrived. Nothing here synchronises: a full ring loses the row's measured values and says so. On the CPU
there is nothing to wait for, and rows are read where they were written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SLOTS: Final = 8
"""Rows in flight: more than a CPU usually runs ahead of its device, at 12 bytes per tensor and slot."""
_PINNABLE: Final = {"cuda", "xpu"}


class Event(Protocol):
    """A place in the device's queue."""

    def record(self) -> Any:
        """Put it behind everything queued so far."""

    def query(self) -> bool:
        """Whether the device has passed it."""

    def elapsed_time(self, end: Any) -> float:
        """Milliseconds of device time from this one to `end`; both passed."""


class Immediate:
    """The event of a device that has no queue."""

    def record(self) -> None:
        """Nothing is queued."""

    def query(self) -> bool:
        """Everything has happened."""
        return True

    def elapsed_time(self, end: Any) -> float:
        """Never asked: such a device is timed by the clock."""
        raise NotImplementedError(end)


def new_event(device: torch.device, *, timing: bool = False) -> Event:
    """An event of the device's own kind."""
    if device.type == "cpu":
        return Immediate()
    event: Event = torch.get_device_module(device).Event(enable_timing=timing)
    return event


def host_tensor(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Host memory that `device` can copy into without waiting."""
    return torch.zeros(shape, dtype=dtype, device="cpu", pin_memory=device.type in _PINNABLE)


class Ring:
    """Rows of float32 that are written on the device and read on the host, first in, first out."""

    def __init__(self, width: int, device: torch.device, slots: int = SLOTS, events: list[Event] | None = None) -> None:
        self.device, self.width, self.slots = device, width, slots
        self.rows = torch.zeros(slots + 1, width, dtype=torch.float32, device=device)
        """(slots + 1, width); the last is scratch for steps that found the ring full."""
        self.queued = device.type != "cpu"
        host = host_tensor((slots, width), torch.float32, device) if self.queued else self.rows
        self._host, self._values = host, host.numpy()
        self._events = events or [new_event(device, timing=True) for _ in range(slots)]
        self._free, self._next = [True] * slots, 0
        self.dropped = 0

    @property
    def scratch(self) -> int:
        """The row that is never sent."""
        return self.slots

    def take(self) -> int:
        """A free row, or `scratch` where all are in flight."""
        slot = self._next
        if not self._free[slot]:
            self.dropped += 1
            return self.slots
        self._free[slot] = False
        self._next = (slot + 1) % self.slots
        return slot

    def send(self, slot: int, width: int) -> None:
        """Queue the first `width` numbers of a row behind what computes them."""
        if slot == self.slots:
            return
        if self.queued:
            self._host[slot, :width].copy_(self.rows[slot, :width], non_blocking=True)
        self._events[slot].record()

    def has_arrived(self, slot: int) -> bool:
        """Whether `read` would see the row; never waits."""
        return slot == self.slots or self._events[slot].query()

    def read(self, slot: int) -> NDArray[np.float32]:
        """The row, valid until it is released."""
        row: NDArray[np.float32] = self._values[min(slot, len(self._values) - 1)]
        return row

    def seconds(self, earlier: int, later: int) -> float | None:
        """Device time between two rows that have arrived and are not released; None where it is not known."""
        if not self.queued or self.slots in (earlier, later):
            return None
        return self._events[earlier].elapsed_time(self._events[later]) / 1e3

    def release(self, slot: int) -> None:
        """The row may be written again."""
        if slot != self.slots:
            self._free[slot] = True


class Parcel:
    """A tensor on its way to the host: one number that a script logged, or the row of a sampled step's probes."""

    __slots__ = ("_event", "_host")

    def __init__(self, tensor: Tensor) -> None:
        tensor = tensor.detach()
        self._event = new_event(tensor.device)
        if tensor.device.type == "cpu":
            self._host = tensor.clone()
        else:
            self._host = host_tensor(tuple(tensor.shape), tensor.dtype, tensor.device)
            self._host.copy_(tensor, non_blocking=True)
        self._event.record()

    def has_arrived(self) -> bool:
        """Whether it may be read; never waits."""
        return self._event.query()

    def value(self) -> float:
        """The number, of one."""
        return _read(self._host)

    def values(self) -> NDArray[np.float32]:
        """All numbers, of float32."""
        row: NDArray[np.float32] = self._host.numpy()
        return row


class Stretches(Parcel):
    """Seconds on the host, and of stretches between two events of a device, each as long as on the slower of both."""

    __slots__ = ("_seconds", "_stretches")

    def __init__(self, seconds: float, stretches: Sequence[tuple[float, Event, Event]]) -> None:
        """stretches: host seconds, and the events at either end."""
        self._seconds, self._stretches = seconds, stretches
        self._event = stretches[-1][2]

    def value(self) -> float:
        """All of it; the device has passed the last event."""
        return self._seconds + sum(max(s, first.elapsed_time(last) / 1e3) for s, first, last in self._stretches)


def on_host(value: Any) -> float | None:
    """A number that needs no transfer: Python's, numpy's, a CPU tensor's. None for a device's tensor, or no number."""
    if isinstance(value, Tensor):
        return _read(value) if value.device.type == "cpu" and value.numel() == 1 and not value.is_complex() else None
    if isinstance(value, np.ndarray):
        value = value.item() if value.size == 1 else None
    if isinstance(value, str | bytes | complex | np.complexfloating):  # a part of it would be a number, and another one
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _read(tensor: Tensor) -> float:
    """Through memory, so that no operation which could synchronise is dispatched."""
    plain = tensor.detach()
    if plain.is_floating_point() and plain.itemsize < 4:
        plain = plain.float()  # numpy has no bfloat16 and none of the kinds of eight bits
    return float(plain.numpy().reshape(-1)[0])
