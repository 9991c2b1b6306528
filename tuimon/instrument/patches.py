"""What torch and Python give no hook for: functions replaced for as long as somebody is attached, then put back.

    torch.autograd.backward                                  the roots: the loss
    torch.nn.utils.clip_grad._get_total_norm                 whether a norm is the L2 norm
    torch.nn.utils.clip_grad._clip_grads_with_norm_          gradients before clipping; also under names imported early
    torch.nn.utils.clip_grad._group_tensors_by_device_and_dtype   gradients before clipping by value
    torch.amp.GradScaler.scale, .step                        the unscaled loss; skipped steps
    torch.utils.data.dataloader._BaseDataLoaderIter.__next__ time spent waiting for data; the stop ladder
    sys.exit                                                 the status by which a script leaves

Process-wide and reference-counted. Each replacement calls the original with the user's arguments, and lets its errors
pass; what tuimon does around it is guarded. A function that somebody else has replaced in turn is left alone: ours
then stays underneath, and with nobody attached it only passes through.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from tuimon.instrument.clipping import is_unscaled
from tuimon.instrument.ending import witnessed
from tuimon.instrument.feeds import Feeds
from tuimon.instrument.hooks import hidden
from tuimon.instrument.measure import Probe

Seeker = Callable[[Any], None]
"""Takes what a backward is called on. Raises nothing."""


class Watcher(Protocol):
    """One attached run, as the patches see it."""

    @property
    def probe(self) -> Probe:
        """Its instrument."""

    @property
    def feeds(self) -> Feeds:
        """Where its data come from."""

    @property
    def is_ending_data(self) -> bool:
        """Whether its loaders are to yield nothing any more."""

    def boundary(self) -> None:
        """A step is complete."""


_watchers: tuple[weakref.ref[Watcher], ...] = ()
"""Replaced whole, so that a patched function may run while somebody attaches. Weak: a run that nobody closes ends with
its optimizer."""
_seekers: tuple[Seeker, ...] = ()
"""Told of a backward before the watchers are, so that they may attach one that sees it."""
_changing = threading.Lock()
"""Held by whoever attaches or detaches; a patched function never takes it."""
_scaled: deque[tuple[weakref.ref[Tensor], Tensor]] = deque(maxlen=16)
"""What GradScaler.scale gave, and what it was given."""
_unmatched: list[Any] = []
"""The scaler that has scaled something since the last backward."""
_norms: deque[tuple[weakref.ref[Tensor], float]] = deque(maxlen=4)
"""Norms that clipping computed, and of which order."""


def _is_wanted() -> bool:
    """Whether somebody watches, or may before the next backward."""
    return bool(_watchers or _seekers) and not torch.compiler.is_compiling()


def _watching() -> list[Watcher]:
    return [] if torch.compiler.is_compiling() else _here()


def _here() -> list[Watcher]:
    """Who watches what this thread does. A thread that trains nothing attached is nobody's.

    [Read from a second thread, gradients that autograd is writing crash the process.]
    """
    me = threading.get_ident()
    return [watcher for ref in _watchers if (watcher := ref()) is not None and watcher.probe.thread == me]


def _unscaled(root: Tensor) -> Tensor:
    """The value that was meant by a root."""
    for produced, given in _scaled:
        if produced() is root:
            return given
    scale = getattr(_unmatched[0], "_scale", None) if _unmatched else None
    value = root.detach()
    return value / scale.to(value.device, non_blocking=True) if isinstance(scale, Tensor) else value


def _backward(original: Callable[..., Any]) -> Callable[..., Any]:
    def begin(tensors: Any, grad_tensors: Any) -> list[Watcher]:
        for seeker in _seekers:
            seeker(tensors)
        watchers = _here()
        for watcher in watchers:
            watcher.probe.backward_begins(tensors, grad_tensors, _unscaled)
        return watchers

    def end(watchers: list[Watcher], *, raised: bool) -> None:
        _unmatched.clear()
        for watcher in watchers:
            if watcher.probe.backward_ended(raised=raised):
                watcher.boundary()

    begin, end = hidden(begin), hidden(end)

    @functools.wraps(original)
    def backward(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> Any:
        watchers = begin(tensors, grad_tensors)
        raised = True
        try:
            result = original(tensors, grad_tensors, *args, **kwargs)
            raised = False
        finally:
            end(watchers, raised=raised)
        return result

    # In a step that is compiled whole, backward runs eagerly: so must this frame, which torch does not know, but not
    # what runs inside of it.
    return hidden(backward, recursive=False)


def _total_norm(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def total_norm(tensors: Any, norm_type: Any = 2.0, *args: Any, **kwargs: Any) -> Any:
        total = original(tensors, norm_type, *args, **kwargs)
        if _watching() and isinstance(total, Tensor) and isinstance(norm_type, float | int):
            _norms.append((weakref.ref(total), float(norm_type)))
        return total

    return total_norm


def _clip(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def clip(parameters: Any, max_norm: Any, total_norm: Any, *args: Any, **kwargs: Any) -> Any:
        watchers = _watching()
        if watchers:
            parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
            order = next((order for norm, order in _norms if norm() is total_norm), None)
            for watcher in watchers:
                limit = watcher.probe.clip(parameters, max_norm, total_norm, order)
                max_norm = max_norm if limit is None else limit
        result = original(parameters, max_norm, total_norm, *args, **kwargs)
        for watcher in watchers:
            watcher.probe.changed()
        return result

    return clip


def _grouped(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def grouped(lists: Any, *args: Any, **kwargs: Any) -> Any:
        if not torch.compiler.is_compiling() and _watchers and sys._getframe(1).f_code.co_name == "clip_grad_value_":  # noqa: SLF001  # clipping by norm groups as well
            for watcher in _watching():
                watcher.probe.clip_value(lists[0])
        return original(lists, *args, **kwargs)

    return grouped


def _scale(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def scale(self: Any, outputs: Any) -> Any:
        if _is_wanted() and not isinstance(outputs, Tensor | list | tuple):
            outputs = list(outputs)  # an iterator can be walked once
        result = original(self, outputs)
        if _is_wanted() and result is not outputs:
            pairs = [(result, outputs)] if isinstance(result, Tensor) else list(zip(result, outputs, strict=False))
            for produced, given in pairs:
                if isinstance(produced, Tensor) and isinstance(given, Tensor) and produced is not given:
                    _scaled.append((weakref.ref(produced), given.detach()))
                    _unmatched[:] = [self]
        return result

    return scale


def _scaler_step(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def step(self: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        found = [(w, k) for w in _watching() if (k := w.probe.index_of(optimizer)) is not None]
        if not found or not self.is_enabled():
            return original(self, optimizer, *args, **kwargs)
        for watcher, k in found:
            watcher.probe.scaler_begins(k, self, unscaled=is_unscaled(self, optimizer))
        result = original(self, optimizer, *args, **kwargs)
        for watcher, k in found:
            if watcher.probe.scaler_ended(k):
                watcher.boundary()
        return result

    return step


def _next(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def __next__(self: Any) -> Any:  # noqa: N807  # it stands for exactly that
        watchers = _watching()
        if any(w.is_ending_data and w.probe.model.training and w.feeds.ends(self) for w in watchers):
            raise StopIteration
        began = time.perf_counter()
        batch = original(self)
        waited = time.perf_counter() - began
        if watchers:
            for watcher in watchers:
                if watcher.is_ending_data:
                    watcher.feeds.reads_elsewhere = True
                elif watcher.probe.model.training:
                    watcher.feeds.gave(self)
                if watcher.probe.model.training:
                    watcher.probe.saw_batch(waited, batch)
        return batch

    return __next__


@dataclass(frozen=True, slots=True)
class Patch:
    """One function to replace."""

    module: str
    owner: str
    """Class within the module, or "" for the module itself."""
    name: str
    wrap: Callable[[Callable[..., Any]], Callable[..., Any]]

    def place(self) -> Any:
        """What holds the function."""
        module = importlib.import_module(self.module)
        return getattr(module, self.owner) if self.owner else module


PATCHES: Final[tuple[Patch, ...]] = (
    Patch("torch.autograd", "", "backward", _backward),
    Patch("torch.nn.utils.clip_grad", "", "_get_total_norm", _total_norm),
    Patch("torch.nn.utils", "", "get_total_norm", _total_norm),
    Patch("torch.nn.utils.clip_grad", "", "_clip_grads_with_norm_", _clip),
    Patch("torch.nn.utils", "", "clip_grads_with_norm_", _clip),
    Patch("torch.nn.utils.clip_grad", "", "_group_tensors_by_device_and_dtype", _grouped),
    Patch("torch.amp.grad_scaler", "GradScaler", "scale", _scale),
    Patch("torch.amp.grad_scaler", "GradScaler", "step", _scaler_step),
    Patch("torch.utils.data.dataloader", "_BaseDataLoaderIter", "__next__", _next),
    Patch("sys", "", "exit", witnessed),
)

_installed: list[tuple[Patch, Callable[..., Any], Callable[..., Any]]] = []


def watch(watcher: Watcher) -> None:
    """Start telling it; the first one installs the patches."""
    global _watchers  # noqa: PLW0603  # a patched function is process-wide state
    with _changing:
        _install()
        for other in _watching():
            if other.is_ending_data:
                other.feeds.release()
        _watchers = (*_watchers, weakref.ref(watcher))


def unwatch(watcher: Watcher, *, wait: bool = True) -> None:
    """Stop telling it; the last one puts the originals back. Idempotent.

    Without `wait` it takes no lock: while somebody else attaches or detaches, the originals come back with the next.
    """
    if not _changing.acquire(blocking=wait):
        return
    try:
        _forget(watcher)
    finally:
        _changing.release()


def _forget(watcher: Watcher) -> None:
    global _watchers  # noqa: PLW0603
    _watchers = tuple(ref for ref in _watchers if ref() not in (None, watcher))
    _uninstall()


def seek(seeker: Seeker) -> None:
    """Start telling it of each backward."""
    global _seekers  # noqa: PLW0603
    with _changing:
        _install()
        _seekers = (*_seekers, seeker)


def unseek(seeker: Seeker) -> None:
    """Stop telling it. Idempotent."""
    global _seekers  # noqa: PLW0603
    with _changing:
        _seekers = tuple(s for s in _seekers if s != seeker)
        _uninstall()


def _install() -> None:
    if _installed:
        return
    found = [(patch, original := getattr(patch.place(), patch.name), patch.wrap(original)) for patch in PATCHES]
    for patch, original, replacement in found:  # nothing is replaced unless all of it is there
        setattr(patch.place(), patch.name, replacement)
        _installed.append((patch, original, replacement))


def _uninstall() -> None:
    if _watchers or _seekers:
        return
    for patch, original, replacement in _installed:
        if getattr(patch.place(), patch.name) is replacement:
            setattr(patch.place(), patch.name, original)
    _installed.clear()
    _scaled.clear()
    _norms.clear()
    _unmatched.clear()


def forget_all() -> None:
    """In a forked child: nobody is attached here."""
    global _changing  # noqa: PLW0603  # a thread that is not here any more may hold it
    _changing = threading.Lock()
    for seeker in _seekers:
        unseek(seeker)
    for ref in _watchers:
        watcher = ref()
        if watcher is not None:
            watcher.probe.forget()
            unwatch(watcher)
