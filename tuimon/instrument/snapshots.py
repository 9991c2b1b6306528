"""Host copies of the training state, to go back to without a disk. Touches device queues and host memory.

The training thread captures, restores, detaches and voids; `seal` and `promote` may come from any thread. No locks:
a host buffer carries a generation that changes before it is overwritten, so that a digest computed beside a new
capture is thrown away.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from tuimon.errors import CheckpointError, UsageError
from tuimon.instrument.host import Captured, Copier, HostBuffers, available_memory, capture_copy, one_line, size_of
from tuimon.instrument.restoring import Plan, plan
from tuimon.instrument.state import Plain, TrainingState

__all__ = ["Captured", "Fit", "Snapshot", "Snapshots", "capture_copy"]

MIN_SLOTS: Final = 3
"""One that earned its health, one earning it, and a new one."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known about one snapshot."""

    step: int
    """Last completed optimizer update in it; 0 before the first."""
    bytes: int
    seconds: float
    """Host time that the training thread spent on it."""
    sha256: str = ""
    """Hex digest of the host copy; "" until it is sealed."""
    proven: bool = False
    """Whether it has earned its health."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether snapshots fit into host memory."""

    fits: bool
    needed: int
    available: int
    """Bytes."""
    why: str
    """One line where they do not; else ""."""

    def __bool__(self) -> bool:
        return self.fits


@dataclass(slots=True, eq=False)
class _Slot:
    step: int
    seconds: float
    host: HostBuffers
    plain: Plain
    trained: frozenset[str]
    sha256: str = ""
    proven: bool = False

    def view(self) -> Snapshot:
        return Snapshot(self.step, size_of(self.host.tensors), self.seconds, self.sha256, self.proven)


class Snapshots:
    """The last few states of one run, in reused host buffers."""

    def __init__(self, state: TrainingState, slots: int = 4) -> None:
        if slots < MIN_SLOTS:
            raise UsageError(f"slots must be at least {MIN_SLOTS}, not {slots}")
        self.state = state
        self.capacity = slots
        self._slots: list[_Slot] = []
        self._initial: _Slot | None = None
        self._spare: list[HostBuffers] = []
        self._copier = Copier()
        self._hooks: list[Any] = []

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps that can be gone back to, oldest first."""
        return tuple(s.step for s in self._slots)

    @property
    def healthy(self) -> Snapshot | None:
        """The newest that has earned its health."""
        return next((s.view() for s in reversed(self._slots) if s.proven), None)

    @property
    def initial(self) -> Snapshot | None:
        """The first one taken; None once another has earned its health and its place was needed."""
        return next((s.view() for s in self._slots if s is self._initial), None)

    @property
    def pending(self) -> tuple[int, ...]:
        """Steps of snapshots that have yet to earn their health, oldest first; the initial one need not."""
        return tuple(s.step for s in self._slots if not s.proven and s is not self._initial)

    def capture(self, step: int) -> Snapshot:
        """Copy the live state as of the end of `step`. The first call of all takes the initial one.

        CheckpointError where the state cannot be copied; at most the snapshot whose place it took is then lost.
        """
        begun = time.perf_counter()
        live = self.state.tensors()
        plain = self.state.plain(step)
        again = [s for s in self._slots if s.step == step]
        first = self._initial is None or self._initial in again
        self._drop(again)
        if len(self._slots) >= self.capacity:
            self._drop([self._least_needed()])
        host = self._fill(live)
        trained = frozenset(f"param/{n}" for n in self.state.trained())
        slot = _Slot(step, time.perf_counter() - begun, host, plain, trained)
        if first:
            self._initial = slot
        self._slots = sorted([*self._slots, slot], key=lambda s: s.step)
        return slot.view()

    def prepare(self) -> None:
        """Allocate the remaining buffers ahead of their first use, shaped as the newest snapshot. For the writer.

        Touching new memory costs some 20 times a copy into old; worth doing once optimizer state exists.
        """
        slots = self._slots
        if not slots:
            return
        shapes = dict(slots[-1].host.tensors)
        for _ in range(self.capacity - len(slots) - len(self._spare)):
            fresh = {k: torch.zeros_like(t, pin_memory=t.is_pinned()) for k, t in shapes.items()}
            self._spare.append(HostBuffers(fresh))

    def _fill(self, live: Mapping[str, Tensor]) -> HostBuffers:
        host = self._spare.pop() if self._spare else HostBuffers()
        host.generation += 1
        try:
            host.shape_to(live)
            self._watch_steps(live)
            self._copier.copy(live, host)
        except (RuntimeError, MemoryError) as error:
            raise CheckpointError(f"no snapshot: {one_line(error)}") from error
        return host

    def _watch_steps(self, live: Mapping[str, Tensor]) -> None:
        """From the first CUDA tensor on, have every optimizer step wait for copies in flight."""
        if self._hooks or not any(t.is_cuda for t in live.values()):
            return
        order = torch.compiler.disable(  # type: ignore[no-untyped-call]  # untyped in torch
            lambda *_: self._copier.order_next_step()
        )
        self._hooks = [o.register_step_pre_hook(order) for o in self.state.optimizers]

    def _least_needed(self) -> _Slot:
        """Older proven ones go first, then the initial one once it is superseded, then the newest pending one.

        The oldest pending one is next to earn its health: if it always made room, none ever would.
        """
        proven = [s for s in self._slots if s.proven]
        if proven[:-1]:
            return proven[0]
        if proven and self._initial in self._slots and self._initial is not proven[0]:
            return next(s for s in self._slots if s is self._initial)
        return next(s for s in reversed(self._slots) if not s.proven and s is not self._initial)

    def _drop(self, gone: list[_Slot]) -> None:
        self._slots = [s for s in self._slots if s not in gone]
        for slot in gone:
            slot.host.generation += 1
            if not slot.host.readers:
                self._spare.append(slot.host)

    def seal(self, step: int) -> str:
        """Compute the digest that `restore` will compare with; "" if the snapshot has gone. For the writer thread."""
        slot = self._find(step)
        if slot is None or slot.sha256:
            return "" if slot is None else slot.sha256
        generation = slot.host.generation
        try:
            digest = slot.host.digest()
        except (KeyError, RuntimeError):  # its buffers were taken for a new snapshot meanwhile
            return ""
        if slot.host.generation != generation:
            return ""
        slot.sha256 = digest
        return digest

    def promote(self, step: int) -> bool:
        """It has earned its health. False if it has gone. Seals it if nobody has."""
        slot = self._find(step)
        if slot is None:
            return False
        self.seal(step)
        slot.proven = True
        return slot in self._slots

    def void_after(self, step: int) -> tuple[int, ...]:
        """Forget every snapshot later than `step`: it holds what went wrong. The steps forgotten."""
        gone = [s for s in self._slots if s.step > step]
        self._drop(gone)
        return tuple(s.step for s in gone)

    def detach(self, step: int) -> Captured:
        """Lend a snapshot's buffers to a writer without copying them; it can still be restored meanwhile."""
        slot = self._must_find(step)
        return Captured(step, slot.host, slot.plain, proven=slot.proven)

    def restore(self, step: int) -> Snapshot:
        """Put the live state back to the end of `step`, in place, and void what came after.

        Verified on the host first: names, shapes, dtypes, digest, finite parameters. CheckpointError otherwise, or
        if a copy fails; then live tensors are as before. Hyper-parameters, schedules and random generators go on.
        """
        return self._write(*self._prepared(step))

    def _prepared(self, step: int) -> tuple[_Slot, Plan]:
        """Verified, and nothing touched."""
        slot = self._must_find(step)
        self._verify(slot)
        return slot, plan(self.state, slot.host.tensors, slot.plain)

    def _write(self, slot: _Slot, work: Plan) -> Snapshot:
        step = slot.step
        self._copier.order_next_step()
        before, plain_before = self._fill(self.state.tensors()), self.state.plain(step)
        self._copier.order_next_step()
        try:
            work.apply()
        except Exception as error:
            before.wait()
            plan(self.state, before.tensors, plain_before).apply(undo=True)
            raise CheckpointError(f"step {step} was not restored, the run is as it was: {one_line(error)}") from error
        finally:
            self._spare.append(before)
        self.void_after(step)
        del self._spare[max(0, self.capacity - len(self._slots)):]
        return slot.view()

    def _verify(self, slot: _Slot) -> None:
        digest = slot.host.digest()
        if slot.sha256 and digest != slot.sha256:
            raise CheckpointError(f"the snapshot of step {slot.step} was damaged in memory: its digest has changed")
        for key in slot.trained:
            tensor = slot.host.tensors[key]
            if (tensor.is_floating_point() or tensor.is_complex()) and not bool(torch.isfinite(tensor).all()):
                raise CheckpointError(f"the snapshot of step {slot.step} holds non-finite values in {key}")
        slot.sha256 = digest

    def _find(self, step: int) -> _Slot | None:
        return next((s for s in self._slots if s.step == step), None)

    def _must_find(self, step: int) -> _Slot:
        slot = self._find(step)
        if slot is None:
            known = ", ".join(map(str, self.steps)) or "none"
            raise CheckpointError(f"no snapshot of step {step}; there are: {known}")
        return slot

    def fits(self, fraction: float = 0.25) -> Fit:
        """Whether all slots fit into `fraction` of the host memory that is available now.

        Before the first step, optimizer state is taken to be twice the trained parameters (Adam's).
        """
        live = self.state.tensors()
        one = size_of(live)
        if not any(k.startswith("opt/") for k in live):
            trained = {f"param/{n}" for n in self.state.trained()}
            one += 2 * size_of({k: t for k, t in live.items() if k in trained})
        needed, available = one * self.capacity, available_memory()
        if needed <= fraction * available:
            return Fit(True, needed, available, "")
        why = (f"{self.capacity} snapshots need {needed / 1e9:.1f} GB, more than {fraction:.0%} of the "
               f"{available / 1e9:.1f} GB of free host memory: checkpoints on disk only")
        return Fit(False, needed, available, why)

    def close(self) -> None:
        """Remove the hooks and give the memory back."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._slots, self._initial = [], None
        self._spare.clear()
