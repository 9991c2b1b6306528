"""How long a rank works on a step itself, without waiting for the others: what tells a slow one from those it holds up.

On the CPU: the wall time of forward passes, the time that its loaders keep it waiting, and the CPU time of the training
thread for all the rest: in a backward and behind it, ranks wait for each other, and who waits uses no CPU. Where
forward passes wait as well (sharded parameters are gathered in them, buffers are sent) they count by CPU time too.

On a device: the time that its loaders keep it waiting, and of each forward pass the longer of its host's and its
device's. The rest is the same work on every rank, and which part of it is waiting cannot be told without asking.
Not measured where no forward pass is seen, nor on a device where it gathers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import torch

from tuimon.instrument.transfer import Event, Stretches, new_event


class HostTime:
    """Of the CPU."""

    def __init__(
        self, *, meets: bool, wall: Callable[[], float] = time.perf_counter, cpu: Callable[[], float] = time.thread_time
    ) -> None:
        """meets: whether ranks wait for each other in a forward pass."""
        self._meets, self._wall, self._cpu = meets, wall, cpu
        self._busy = self._idle = 0.0
        self._mark = cpu()
        self._forward: float | None = None

    def forward_begins(self) -> None:
        """A forward pass with gradients begins."""
        self._work()
        self._forward = self._wall()

    def loaded(self, seconds: float) -> None:
        """A loader took so long: what it did not use the CPU for, it waited for."""
        self._idle += max(0.0, seconds - self._work())

    def backward_begins(self) -> None:
        """The forward pass that led here is over, if one was seen."""
        busy = self._work()
        if self._forward is not None and not self._meets:
            self._idle += max(0.0, self._wall() - self._forward - busy)
        self._forward = None

    def backward_ended(self) -> None:
        """What comes is not part of it."""
        self._work()

    def taken(self) -> float | None:
        """The step is complete: its seconds. From here on the next one is under way."""
        self._work()
        own, self._busy, self._idle, self._forward = self._busy + self._idle, 0.0, 0.0, None
        return own

    def resumed(self) -> None:
        """The run stood still until now: nobody's time."""
        self._mark = self._cpu()

    def _work(self) -> float:
        """CPU seconds since the last look."""
        now = self._cpu()
        busy, self._mark = now - self._mark, now
        self._busy += busy
        return busy


class DeviceTime:
    """Of a device with a queue."""

    def __init__(self, device: torch.device, *, meets: bool) -> None:
        self._device, self._meets = device, meets
        self._idle = 0.0
        self._forward: tuple[float, Event] | None = None
        self._stretches: list[tuple[float, Event, Event]] = []

    def forward_begins(self) -> None:
        """A forward pass with gradients begins."""
        event = None if self._meets else self._event()
        self._forward = None if event is None else (time.perf_counter(), event)

    def loaded(self, seconds: float) -> None:
        """A loader took so long."""
        self._idle += seconds

    def backward_begins(self) -> None:
        """The forward pass that led here is over, if one was seen."""
        if self._forward is not None and (event := self._event()) is not None:
            self._stretches.append((time.perf_counter() - self._forward[0], self._forward[1], event))
        self._forward = None

    def backward_ended(self) -> None:
        """What comes is not part of it."""

    def taken(self) -> Stretches | None:
        """The step is complete: its seconds, on their way. From here on the next one is under way."""
        found = Stretches(self._idle, self._stretches) if self._stretches else None
        self._idle, self._stretches, self._forward = 0.0, [], None
        return found

    def resumed(self) -> None:
        """The run stood still until now: nobody's time."""

    def _event(self) -> Event | None:
        """None where the stream is being captured, or the device is gone: training will meet that itself."""
        if self._device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return None
        with suppress(RuntimeError):
            event = new_event(self._device, timing=True)
            event.record()
            return event
        return None
