"""Finished steps on their way to the log, in order, each handed over once its numbers have arrived.

A step is kept until the next one begins, so that what a script logs after optimizer.step() still goes into the row of
that step. Runs on the training thread; never waits, except in `flush`, which is for moments at which training stands
still anyway.
"""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Any, Protocol

import torch
from torch import Tensor

from tuimon.instrument import rows
from tuimon.instrument.batches import Batches
from tuimon.instrument.cadence import Cadence
from tuimon.instrument.rows import Finished
from tuimon.instrument.tracked import Tracked
from tuimon.instrument.transfer import Parcel, Ring, on_host

_POLL: float = 0.002


class Sink(Protocol):
    """Where finished steps go: the recorder."""

    def row(self, step: int, time: float, values: dict[str, float]) -> None:  # the log's word
        """The scalars of one step."""

    def tensors(self, step: int, grad: Any, seen: Any, update: Any) -> None:
        """Its vectors, in the order of the tensor table; `update` is None where it was not measured."""

    def weights(self, step: int, norms: Any, seen: Any) -> None:
        """The norms of its weights, in the order of the tensor table."""

    def probes(self, step: int, values: Any, seen: Any) -> None:
        """What its activation probes measured, in the order of the probe table."""


def as_logged(value: Any) -> float | Parcel | None:
    """A number, or one on its way; None for what is no number."""
    if isinstance(value, Tensor):
        if value.numel() != 1 or value.is_complex():
            return None
        if value.is_quantized:
            value = value.dequantize()
        if value.layout is not torch.strided:
            value = value.detach().to_dense()
        return Parcel(value.reshape(()))
    return on_host(value)


class Outbox:
    """The finished steps of one attached run."""

    def __init__(self, sink: Sink, cadence: Cadence, table_size: int) -> None:
        self._sink, self._cadence, self._table_size = sink, cadence, table_size
        self.batches = Batches()
        """What went into the model in the steps that have not been handed over."""
        self._waiting: deque[tuple[Finished, Ring, Tracked]] = deque()
        self._latest: Finished | None = None
        self._last: tuple[Ring, int] | None = None

    @property
    def latest(self) -> Finished | None:
        """The step just completed, until the next has begun."""
        return self._latest

    def post(self, done: Finished, ring: Ring, tracked: Tracked) -> None:
        """A step is complete and its row has been sent."""
        self.seal()
        self._latest = done
        self._waiting.append((done, ring, tracked))

    def seal(self) -> None:
        """The next step has begun: nothing can be added to the latest any more."""
        if self._latest is not None:
            self._latest.sealed, self._latest = True, None
            self.drain()

    def flush(self, patience: float) -> None:
        """Hand over everything, waiting up to `patience` seconds for the device."""
        self.seal()
        until = time.monotonic() + patience
        while self._waiting and time.monotonic() < until:
            time.sleep(_POLL)
            self.drain()

    def drain(self) -> None:
        """Hand over the steps that are sealed and have arrived."""
        waiting = self._waiting
        while waiting:
            done, ring, tracked = waiting[0]
            if not (done.sealed and ring.has_arrived(done.slot) and _have_arrived(done)):
                return
            waiting.popleft()
            self._hand_over(done, ring, tracked)

    def _hand_over(self, done: Finished, ring: Ring, tracked: Tracked) -> None:
        row, tensors, shares = ring.read(done.slot), len(tracked), tracked.shares
        values = rows.scalars(row, tensors, done, tracked.counts, shares)
        if done.sample is not None:
            probed = done.sample.read()
            self._sink.probes(done.step, *probed)
            values.update(done.sample.layers.scalars(*probed))
        values.update({n: v.value() if isinstance(v, Parcel) else v for n, v in done.logged.items()})
        seconds = self._device_seconds(ring, done)
        if seconds is not None:
            values["step_time"] = seconds
        if values.get("tokens") and values.get("step_time"):
            values["throughput"] = values["tokens"] / values["step_time"]
        if done.weights and self._cadence.is_timed:
            values["overhead"] = self._cadence.overhead
        norm = values.get("grad_norm" if shares is None else "grad_square", 0.0)
        strange = not (math.isfinite(values.get("loss", 0.0)) and math.isfinite(norm))
        if strange and not values.get("skipped"):
            self._cadence.alert(done.step)
        grad, seen = None, None
        is_its_own = shares is None or bool(shares.first.any())   # else another rank writes these vectors
        if any(done.seen) and (done.vectors or strange) and is_its_own:
            grad, seen, update = rows.vectors(row, tensors, done, tracked.place, self._table_size, shares)
            self._sink.tensors(done.step, grad, seen, update)
        if done.weights and is_its_own and self._cadence.wants_weights(done.step):
            self._sink.weights(done.step, *rows.weights(row, tensors, tracked.place, self._table_size, shares))
        self._sink.row(done.step, done.time, values)
        self.batches.judged(done.step, values if shares is None else shares.told(values), grad, seen)
        if self._last is not None:
            self._last[0].release(self._last[1])  # kept until now: its event marks where this step began
        self._last = ring, done.slot

    def _device_seconds(self, ring: Ring, done: Finished) -> float | None:
        """Device time since the row before, without what the run stood still; None where the clock must do."""
        if self._last is None or self._last[0] is not ring:
            return None
        seconds = ring.seconds(self._last[1], done.slot)
        return None if seconds is None else max(0.0, seconds - done.held)


def _have_arrived(done: Finished) -> bool:
    if done.sample is not None and not done.sample.numbers.has_arrived():
        return False
    return all(not isinstance(value, Parcel) or value.has_arrived() for value in done.logged.values())


