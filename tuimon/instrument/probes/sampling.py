"""Hooks on a model's modules for the length of one sampled forward pass, and what they found on its way to the log.

Law: what is not sampled costs one look at an attribute per step, for nothing is hooked then [a hook that does nothing
costs 1 to 2 us a call: 60 us a step at twelve layers]. Hooks go in when a forward pass with gradients begins on a
sampled step, and are taken out when its first backward ends; each place is measured once in between, so that neither
further micro-batches nor what activation checkpointing computes again counts. A pass without gradients or of a module
in evaluation does not count either. Everything is computed on detached tensors, without autograd, autocast or a random
number, queued on the device and not waited for; hooks return None. Raises nothing: the first error ends probing, with
one fault, and everything else goes on.
"""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes, _get_current_dispatch_mode_stack
from torch.utils.hooks import RemovableHandle

from tuimon.instrument.cadence import Cadence
from tuimon.instrument.probes.finding import Place, eager, entries_of
from tuimon.instrument.probes.readings import Reading
from tuimon.instrument.state import unwrapped
from tuimon.instrument.transfer import Parcel
from tuimon.record.chunk import Bools, Vectors
from tuimon.record.probes import ProbeLayers

UNCALLED: Final = 3
"""Steps in which only a loader was seen before it begins a sample: code that torch.compile makes of a model which it
calls is made by then, and does not see hooks that come later."""
EMPTY: Final = 3
"""Samples in a row without a number after which no more are taken."""
_NO_HOOK: Final = contextlib.nullcontext().__exit__
"""Takes anything, returns None."""


class Look:
    """A forward hook. Copies and pickles as something of the standard library that does nothing: see `hooks`."""

    def __init__(self, sampling: Sampling, reading: Reading) -> None:
        self._sampling, self._reading = weakref.ref(sampling), reading

    def __call__(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """After a forward pass of that module."""
        if torch.compiler.is_compiling():
            return
        sampling = self._sampling()
        if sampling is not None and sampling.is_open:
            sampling.look(self._reading, module, args, kwargs, output)

    def __reduce__(self) -> Any:
        return getattr, (contextlib.nullcontext(), "__exit__")

    def __deepcopy__(self, memo: Any) -> Any:
        return _NO_HOOK


@dataclass(frozen=True, slots=True)
class Sample:
    """What the probes of one step measured."""

    layers: ProbeLayers
    """The probe table."""
    columns: Sequence[int]
    """Which of its entries were measured."""
    numbers: Parcel
    """One for each of those."""

    def read(self) -> tuple[Vectors, Bools]:
        """Values and which there are, each (K,); once it has arrived."""
        values, seen = np.full(self.layers.width, np.nan, np.float32), np.zeros(self.layers.width, np.bool_)
        values[self.columns], seen[self.columns] = self.numbers.values(), True
        return values, seen


class Sampling:
    """The probes of one attached run."""

    def __init__(
        self, model: nn.Module, places: Sequence[Place], cadence: Cadence, *, from_step: int,
        on_fault: Callable[[str, Exception], None], say: Callable[[str], None],
    ) -> None:
        self._model, self._cadence, self._on_fault, self._say = model, cadence, on_fault, say
        self._layers = ProbeLayers(entries_of(tuple(places)))
        self._readings: list[Reading] = []
        for place in places:
            self._readings.append(Reading(place, sum(len(r.place.quantities) for r in self._readings)))
        self.is_due = bool(places) and cadence.wants_probes(from_step + 1)
        """Whether the step under way is to be sampled and has not begun to be: the one look that others cost."""
        self.is_open = False
        self.aside = 0.0
        """Seconds that the sample of the step just completed took outside of forward passes; 0 without one."""
        self._spent = self._outside = 0.0
        """Of the step under way, in all and outside."""
        self._handles: list[RemovableHandle] = []
        self._found: dict[int, Tensor] = {}
        self._is_checked = self._was_called = False
        self._uncalled = self._empty = 0

    def begins(self, *, called: bool) -> None:
        """A step is due: its forward pass begins, or (not `called`) a loader has given its batch."""
        self._was_called = self._was_called or called
        if not (called or (not self._was_called and self._uncalled >= UNCALLED)):
            return
        began = time.perf_counter()
        self.is_due = False
        try:
            self._open()
        except Exception as error:
            self._fail(error)
        self._took(began)

    def _open(self) -> None:
        if not self._is_checked:
            self._leave_compiled_alone()
        self.is_open = True
        for reading in self._readings:
            for module in reading.modules:
                self._handles.append(module.register_forward_hook(Look(self, reading), with_kwargs=True))

    def _leave_compiled_alone(self) -> None:
        """Of what was found when the run was attached, keep what nobody has compiled since."""
        self._is_checked = True
        left = {id(module) for _, module in eager(unwrapped(self._model))}
        kept = [r for r in self._readings if all(id(module) in left for module in r.modules)]
        if len(kept) < len(self._readings):
            self._readings = kept
            self._say("activations inside compiled modules are not measured")

    def look(self, reading: Reading, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """One of the hooked modules was called."""
        if reading.is_done or not (module.training and torch.is_grad_enabled()) or _is_elsewhere():
            return
        if reading.holds(module, output):
            return
        began = time.perf_counter()
        try:
            torch._C._set_grad_enabled(False)  # noqa: SLF001  # as `step.guarded` does
            with _undisturbed():
                values = reading.saw(args, kwargs, output)
            for column, value in enumerate(values, start=reading.first):
                if value is not None:
                    self._found[column] = value
        except Exception as error:
            self._fail(error)
        finally:
            torch._C._set_grad_enabled(True)  # noqa: SLF001
            self._spent += time.perf_counter() - began

    def ended(self) -> None:
        """The first backward of the step is over."""
        if self.is_open:
            began = time.perf_counter()
            self._shut()
            self._took(began)

    def taken(self, step: int) -> Sample | None:
        """That step is complete: its sample, if it is one. From here on the next one is under way."""
        sample = self._complete() if self._spent else None
        self.aside, self._spent, self._outside = self._outside, 0.0, 0.0
        self._uncalled += 1
        self.is_due = bool(self._readings) and (self.is_due or self._cadence.wants_probes(step + 1))
        return sample

    def _complete(self) -> Sample | None:
        began = time.perf_counter()
        found, self._found = self._found, {}
        try:
            self._shut()
            if not found:
                self._is_empty()
                return None
            self._empty = 0
            sample = Sample(self._layers, list(found), _gathered(list(found.values())))
            self._took(began)
            self._cadence.learn_probes(self._spent)
        except Exception as error:
            self._fail(error)
            return None
        return sample

    def _is_empty(self) -> None:
        self._empty += 1
        if self._empty == EMPTY and self._readings:
            self.stop()
            self._say("activations are not measured: no forward pass with gradients reaches a module of the model")

    def stop(self) -> None:
        """Take no more samples; hooks stay where they are, inert, for another thread may be walking over them."""
        self.is_due = self.is_open = False
        self._readings = []

    def leave(self) -> None:
        """The same, and take the hooks out."""
        self.stop()
        self._shut()

    def _shut(self) -> None:
        self.is_open = False
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        for reading in self._readings:
            reading.forget()

    def _took(self, began: float) -> None:
        seconds = time.perf_counter() - began
        self._spent += seconds
        self._outside += seconds

    def _fail(self, error: Exception) -> None:
        self._found = {}
        self.leave()
        self._on_fault("probes", error)


def _gathered(values: list[Tensor]) -> Parcel:
    """All in one row, on the device of the first."""
    device = values[0].device
    return Parcel(torch.stack([v if v.device == device else v.to(device, non_blocking=True) for v in values]))


def _is_elsewhere() -> bool:
    """Whether this pass only records what it would do: a CUDA graph under capture, a transform of torch.func."""
    if torch._C._functorch.maybe_current_level() is not None:  # noqa: SLF001  # nobody else knows
        return True
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Without autocast, and where selective checkpointing, which counts operations, does not count ours."""
    with contextlib.ExitStack() as stack:
        if any(type(m).__module__ == "torch.utils.checkpoint" for m in _get_current_dispatch_mode_stack()):
            stack.enter_context(_disable_current_modes())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield
