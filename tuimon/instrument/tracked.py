"""The tensors that are watched: which they are, where they stand in the log's vectors, and their norms.

Every parameter that an attached optimizer holds is tracked, in the optimizers' order, so that each optimizer owns one
contiguous stretch. The tensor table lists all parameters of the model, frozen ones included: a layer that is thawed
later finds its place there. Norms are left on the device.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from tuimon.instrument import sharding
from tuimon.instrument.rounding import may_round_away, resting
from tuimon.instrument.rows import Counts
from tuimon.instrument.state import own_name, unwrapped
from tuimon.record.tensors import TensorEntry


def named_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Names without what wrappers put into them, and parameters; tied ones once."""
    for name, parameter in unwrapped(model).named_parameters():
        yield own_name(name), parameter


def held_by(optimizers: Sequence[Optimizer]) -> list[list[Tensor]]:
    """Per optimizer, the parameters it is the first to hold."""
    seen: set[int] = set()
    found: list[list[Tensor]] = []
    for optimizer in optimizers:
        mine = []
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    mine.append(parameter)
        found.append(mine)
    return found


def tensor_table(model: nn.Module, optimizers: Sequence[Optimizer]) -> tuple[TensorEntry, ...]:
    """All parameters of the model in its order, then those that only an optimizer knows."""
    held = {id(p) for group in held_by(optimizers) for p in group}
    entries, listed = [], set()
    for name, parameter in named_parameters(model):
        listed.add(id(parameter))
        entries.append(_entry(name, parameter, trained=parameter.requires_grad and id(parameter) in held))
    others = [p for group in held_by(optimizers) for p in group if id(p) not in listed]
    entries += [_entry(f"outside.{i}", p, trained=p.requires_grad) for i, p in enumerate(others)]
    return tuple(entries)


def _entry(name: str, parameter: Tensor, *, trained: bool) -> TensorEntry:
    return TensorEntry(name, tuple(parameter.shape), str(parameter.dtype).removeprefix("torch."), trained)


def local(tensor: Tensor) -> Tensor:
    """What of it this process holds, as real numbers; no communication."""
    if hasattr(tensor, "to_local"):
        tensor = tensor.to_local()
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


class Tracked:
    """The tracked tensors of one attached run, as its optimizers hold them now."""

    def __init__(self, model: nn.Module, optimizers: Sequence[Optimizer], device: torch.device) -> None:
        self.device = device
        held = held_by(optimizers)
        self.params: list[Tensor] = [p for group in held for p in group]
        self.ids = frozenset(map(id, self.params))
        self.spans: list[tuple[int, int]] = []
        """Per optimizer, its stretch of `params`."""
        start = 0
        for group in held:
            self.spans.append((start, start + len(group)))
            start += len(group)
        self.size = signature(optimizers)
        self.place = _places(model, self.params)
        """(P,) index of each in the tensor table; -1 where it came after the table was written."""
        self.full_precision = all(p.dtype in (torch.float32, torch.float64) for p in self.params)
        plain = all(not hasattr(p, "to_local") and p.device == device and not p.is_complex() for p in self.params)
        self._alike = self._regular = plain and len({p.dtype == torch.float64 for p in self.params}) <= 1
        """Whether one fused call takes all weights, and all gradients, as they are; the latter is learnt to be False
        where one turns out sparse."""
        self._dtype = None if any(p.dtype == torch.float64 for p in self.params) else torch.float32
        self._zero = torch.zeros((), dtype=torch.float32, device=device)
        self.plain = plain
        self._aside = [] if plain else sharding.kept_aside(model)
        self._counted = at = may_round_away(model, optimizers, held)
        self.counts = Counts(np.array(at, np.int64), np.array([local(self.params[i]).numel() for i in at], np.int64))

    def __len__(self) -> int:
        return len(self.params)

    def has_grads(self) -> bool:
        """Whether any tensor has a gradient."""
        return any(p.grad is not None for p in self.params) or bool(self._aside and sharding.waiting(self._aside))

    def holders(self, grads: Sequence[Tensor]) -> set[int]:
        """The ids of the tracked tensors whose gradients these are."""
        given = set(map(id, grads))
        return {id(p) for p in self.params if p.grad is not None and id(p.grad) in given}

    def grad_marks(self) -> list[int]:
        """A number per tensor that changes whenever something is added to its gradient; -1 without one.

        What waits to be sharded has one more, behind them.
        """
        if not self.plain:
            return sharding.marks(self.params, self._aside)
        return [-1 if (g := p.grad) is None else id(g) + g._version for p in self.params]  # noqa: SLF001  # the only counter there is

    def has_moved_from(self, marks: list[int]) -> bool:
        """Whether something was added to any gradient since `grad_marks`."""
        return self.grad_marks() != marks

    def grad_norms(self, start: int, stop: int, out: Tensor) -> list[bool]:
        """Write the L2 norms of a stretch's gradients to `out` (stop - start,); True where there is a gradient."""
        grads = [p.grad for p in self.params[start:stop]]
        present = [g for g in grads if g is not None]
        if self._regular and len(present) == len(grads):
            if self._at_once(present, out):
                return [True] * len(grads)
            self._regular = False  # a sparse gradient, which has no such kernel
        return self._norms(grads, out)

    def _at_once(self, tensors: list[Tensor], out: Tensor) -> bool:
        """Write the norms of all to `out` by one fused call; False where these tensors have none."""
        try:
            torch.stack(torch._foreach_norm(tensors, 2, self._dtype), out=out)  # noqa: SLF001  # what clip_grad_norm_ calls
        except (RuntimeError, NotImplementedError):
            return False
        return True

    def param_norms(self, out: Tensor) -> None:
        """Write the L2 norms of all tracked parameters to `out` (P,)."""
        self.norms_of(self.params, out)

    def norms_of(self, tensors: list[Tensor], out: Tensor) -> None:
        """Write the L2 norms of dense tensors, one per parameter of some stretch, to `out`."""
        if tensors and not (self._alike and self._at_once(tensors, out)):
            self._norms(tensors, out)

    def count(self, moves: list[Tensor], start: int, out: Tensor) -> None:
        """Write the roots of how many elements differ from zero to `out` (Q,), which is for all counted tensors.

        `moves` are what was added to the tensors from `start` on, and are used up. A norm of order 0 would leave them,
        but has no fused kernel on a device, and on the CPU counts a tensor's elements to 2**24 only; this to 2**27.
        """
        first, last = bisect_left(self._counted, start), bisect_left(self._counted, start + len(moves))
        if first < last:
            mine = [moves[i - start] for i in self._counted[first:last]]
            torch._foreach_sign_(mine)
            self.norms_of(mine, out[first:last])

    def resting(self, optimizer: Optimizer) -> set[int]:
        """The counted tensors that this optimizer has left where they were on purpose."""
        still = resting(optimizer) if self._counted else set()
        return {i for i in self._counted if id(self.params[i]) in still} if still else set()

    @staticmethod
    def _dtype_of(tensor: Tensor) -> torch.dtype | None:
        """The norm's type: float32 also for half precision; float64 cannot be narrowed there."""
        return None if tensor.dtype == torch.float64 else torch.float32

    def _norms(self, tensors: Sequence[Tensor | None], out: Tensor) -> list[bool]:
        """The general case: absent, sparse, sharded, on several devices, of several types."""
        found: list[Tensor] = [self._zero] * len(tensors)
        seen = [False] * len(tensors)
        batches: dict[tuple[torch.device, bool], tuple[list[int], list[Tensor]]] = {}
        for i, tensor in enumerate(tensors):
            if tensor is None:
                continue
            seen[i] = True
            piece = local(tensor)
            if piece.layout == torch.sparse_coo:
                piece = piece.coalesce().values()
            indices, pieces = batches.setdefault((piece.device, piece.dtype == torch.float64), ([], []))
            indices.append(i)
            pieces.append(piece)
        for indices, pieces in batches.values():
            norms = torch._foreach_norm(pieces, 2, self._dtype_of(pieces[0]))  # noqa: SLF001
            for i, norm in zip(indices, norms, strict=True):
                found[i] = norm.to(self.device, torch.float32, non_blocking=True)
        if found:
            torch.stack(found, out=out)
        return seen


def signature(optimizers: Sequence[Optimizer]) -> int:
    """Changes when the optimizers hold other parameters, or they moved: a group added, one replaced, model.to()."""
    held: list[Tensor] = []
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            held += group["params"]
    return hash((tuple(map(id, held)), held[0].device, held[0].dtype) if held else ())


def _places(model: nn.Module, params: Sequence[Tensor]) -> NDArray[np.int64]:
    """`outside.<i>` parameters follow the model's in the order they are held, as `tensor_table` lists them."""
    index = {id(p): i for i, (_, p) in enumerate(named_parameters(model))}
    for p in params:
        index.setdefault(id(p), len(index))
    return np.array([index[id(p)] for p in params], np.int64)


def device_of(tensors: Sequence[Any]) -> torch.device:
    """The device of the first tensor: rows are gathered there."""
    device: torch.device = local(tensors[0]).device
    return device
