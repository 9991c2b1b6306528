"""One batch through the model again, with a look at what goes into each module and what comes out. Training thread.

For a run that is broken already: it reads the device, once, at the end. Hooks measure the smallest and the largest
value and count what is not finite; nothing else of what passes is kept. With `backward`, the gradients of the outputs
are followed down in the same way.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn

from tuimon.diagnosis.autopsy.model import Sight, Span
from tuimon.diagnosis.autopsy.verdict import Replayed
from tuimon.instrument.batches import DEVICES, Batch
from tuimon.instrument.isolation import lent

Leaf = tuple[str, Tensor]
_LOSS: Final = "loss"


@dataclass(slots=True)
class _Call:
    """One call of a module while it lasts, as numbers still on the device."""

    owner: nn.Module
    module: str
    went_in: int | None
    came_out: int | None = None
    grad_out: list[int] = field(default_factory=list)
    grad_in: list[int] = field(default_factory=list)


def replay(model: nn.Module, batch: Batch, weights: Mapping[int, Tensor], *, backward: bool = False) -> Replayed:
    """Raises what torch raises where memory does not suffice."""
    look, autocast = _Look(model, backward=backward), dict(batch.autocast)
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # of an LSTM whose weights lie elsewhere, say
        stack.enter_context(lent(model, weights, training=batch.training))
        stack.enter_context(torch.set_grad_enabled(backward))
        for kind in DEVICES:  # without its cache: that may hold the weights of now
            if kind in autocast or torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, autocast.get(kind), kind in autocast, cache_enabled=False))
        look.install()
        device = next((t.device for t in model.parameters()), torch.device("cpu"))
        args, kwargs = _moved(batch.args, device), _moved(dict(batch.kwargs), device)
        entered = {name: look.add([tensor]) for name, tensor in _arguments(args, kwargs)}
        raised, output = "", None
        try:
            output = model(*args, **kwargs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # the model's own: an index out of range, say
            where = (look.open[-1].module if look.open else "") or type(model).__name__
            raised = f"{where} raised {type(error).__name__}: {' '.join(str(error).split()):.200}"
        leaves = list(_leaves(output, "output"))
        left = {name: look.add([tensor]) for name, tensor in leaves}
        grads = look.follow(leaves) if backward and not raised else {}
        del output, leaves
        return look.result(entered, left, grads, raised)


class _Look:
    """The hooks of one replay."""

    def __init__(self, model: nn.Module, *, backward: bool) -> None:
        self._model, self._backward = model, backward
        self.open: list[_Call] = []
        self._calls: list[_Call] = []
        self._numbers: list[Tensor] = []
        """(3,) each: smallest, largest, how many are not finite."""
        self._sizes: list[tuple[int, str]] = []

    def install(self) -> None:
        """On every module; taken off again by whoever lent the model."""
        for name, module in self._model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            module.register_forward_pre_hook(self._before(name), with_kwargs=True)
            module.register_forward_hook(self._after)

    def add(self, tensors: list[Tensor]) -> int | None:
        """Measure these together; the place of the numbers, None where there are none."""
        floats = [t for t in tensors if t.is_floating_point() or t.is_complex()]
        numbers = [n for t in floats or tensors if (n := _measured(t)) is not None]
        if not numbers:
            return None
        first, device = (floats or tensors)[0], numbers[0].device
        total = numbers[0]
        for other in numbers[1:]:
            other = other.to(device)  # noqa: PLW2901
            total = torch.stack((torch.minimum(total[0], other[0]), torch.maximum(total[1], other[1]),
                                 total[2] + other[2]))
        self._numbers.append(total)
        self._sizes.append((sum(t.numel() for t in floats or tensors), str(first.dtype).removeprefix("torch.")))
        return len(self._numbers) - 1

    def _before(self, name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            tensors = [t for path, t in _arguments(args, kwargs) if "mask" not in path]
            call = _Call(module, name, self._quietly(tensors))
            self.open.append(call)
            if not self._backward:
                return None
            own = {k: self._aside(v, call) for k, v in kwargs.items()}
            return tuple(self._aside(v, call) for v in args), own

        return hook

    def _after(self, module: nn.Module, _args: Any, output: Any) -> None:
        call = self.open.pop()
        while call.owner is not module:  # the model has caught what those raised
            call = self.open.pop()
        self._calls.append(call)
        tensors = [t for _, t in _leaves(output, "")]
        call.came_out = self._quietly(tensors)
        for tensor in tensors if self._backward else ():
            if tensor.requires_grad:
                tensor.register_hook(lambda grad: self._note(grad, call.grad_out))  # type: ignore[no-untyped-call]  # so in torch

    def _aside(self, value: Any, call: _Call) -> Any:
        """The same for this module alone, so that a gradient of it is only what this module hands on."""
        if not isinstance(value, Tensor) or not value.requires_grad:
            return value
        mine = value.view_as(value)
        mine.register_hook(lambda grad: self._note(grad, call.grad_in))  # type: ignore[no-untyped-call]  # so in torch
        return mine

    def _note(self, grad: Tensor, where: list[int]) -> None:
        at = self._quietly([grad])
        if at is not None:
            where.append(at)

    def _quietly(self, tensors: list[Tensor]) -> int | None:
        with torch.no_grad():
            return self.add(tensors)

    def follow(self, leaves: list[Leaf]) -> dict[str, int | None]:
        """The gradients of the model's own loss, else of the sum of all that it gives; of each parameter by name."""
        reached = [(name, t) for name, t in leaves if t.requires_grad and t.is_floating_point()]
        own = [t for name, t in reached if name == _LOSS and t.numel() == 1]
        roots = own or [t for _, t in reached]
        # a hook of the script's on a parameter would be called
        asked = [(n, p) for n, p in self._model.named_parameters() if p.requires_grad and not p._backward_hooks]  # noqa: SLF001
        if not roots or not asked:
            return {}
        found = torch.autograd.grad(roots, [p for _, p in asked], [torch.ones_like(t) for t in roots],
                                    allow_unused=True)
        return {name: self._quietly([grad]) for (name, _), grad in zip(asked, found, strict=True) if grad is not None}

    def result(self, entered: dict[str, int | None], left: dict[str, int | None], grads: dict[str, int | None],
               raised: str) -> Replayed:
        """All of it on the host."""
        numbers = _on_host(self._numbers)
        spans = [Span(low, high, int(bad), size, dtype)
                 for (low, high, bad), (size, dtype) in zip(numbers, self._sizes, strict=True)]

        def named(where: dict[str, int | None]) -> dict[str, Span]:
            return {name: spans[at] for name, at in where.items() if at is not None}

        calls = [(c, type(c.owner).__name__) for c in self._calls]
        return Replayed(
            tuple(Sight(c.module, kind, _at(spans, c.went_in), _at(spans, c.came_out)) for c, kind in calls),
            named(entered), named(left),
            tuple(Sight(c.module, kind, _joined(spans, c.grad_out), _joined(spans, c.grad_in)) for c, kind in calls),
            named(grads), raised)


def _at(spans: list[Span], at: int | None) -> Span | None:
    return None if at is None else spans[at]


def _joined(spans: list[Span], where: list[int]) -> Span | None:
    """The one that is worst, of several."""
    found = [spans[at] for at in where]
    return next((s for s in found if s.is_poisoned or not s.is_finite),
                max(found, key=lambda s: s.largest, default=None))


def _measured(tensor: Tensor) -> Tensor | None:
    """(3,) smallest, largest and how many are not finite; None for what has no such numbers."""
    if tensor.numel() == 0 or tensor.dtype == torch.bool or tensor.layout is not torch.strided:
        return None
    plain = torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor.detach()
    wide = torch.float32 if plain.device.type == "mps" else torch.float64
    low, high = torch.aminmax(plain)
    bad = plain.numel() - torch.isfinite(plain).sum()
    return torch.stack((low.to(wide), high.to(wide), bad.to(wide)))


def _on_host(numbers: list[Tensor]) -> list[list[float]]:
    """One transfer per device."""
    found: dict[int, list[float]] = {}
    for device in {n.device for n in numbers}:
        here = [i for i, n in enumerate(numbers) if n.device == device]
        rows = torch.stack([numbers[i] for i in here]).cpu().tolist()  # sync: the run is broken, it may wait once
        found.update(zip(here, rows, strict=True))
    return [found[i] for i in range(len(numbers))]


def _arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[Leaf]:
    for i, value in enumerate(args):
        yield from _leaves(value, f"argument {i + 1}")
    for name, value in kwargs.items():
        yield from _leaves(value, name)


def _leaves(value: Any, path: str) -> Iterator[Leaf]:
    """The tensors in it, by name or place."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, str(name))
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{path}[{i}]")
    elif dataclasses.is_dataclass(value):
        for part in dataclasses.fields(value):
            yield from _leaves(getattr(value, part.name, None), part.name)


def _moved(value: Any, device: torch.device) -> Any:
    """Plain containers with their tensors on the device, as a wrapper around the model may have put them there."""
    if isinstance(value, Tensor):
        return value if value.device == device else value.to(device)
    if type(value) is dict:
        return {k: _moved(v, device) for k, v in value.items()}
    return type(value)(_moved(v, device) for v in value) if type(value) in (list, tuple) else value


def measured(named: Mapping[str, Tensor]) -> dict[str, Span]:
    """The values of each of these that has some with a fraction."""
    numbers = {name: n for name, t in named.items() if t.is_floating_point() and (n := _measured(t)) is not None}
    rows = _on_host(list(numbers.values()))
    return {name: Span(low, high, int(bad), named[name].numel(), str(named[name].dtype).removeprefix("torch."))
            for name, (low, high, bad) in zip(numbers, rows, strict=True)}


def broken(named: Mapping[str, Tensor]) -> dict[str, Span]:
    """Those of the tensors that hold a NaN or +inf."""
    return {name: span for name, span in measured(named).items() if span.is_poisoned}


def tensors_of(batch: Batch) -> dict[str, Tensor]:
    """What went into the model, or what a loader gave, by name or place."""
    return dict(_arguments(batch.args, batch.kwargs))


def masked(named: Mapping[str, Tensor], ignored: int = -100) -> str:
    """The name of the labels of which none counts; "" where there are none."""
    return next((name for name, t in named.items()
                 if t.dtype in (torch.int64, torch.int32) and t.numel() and bool((t == ignored).all())), "")
