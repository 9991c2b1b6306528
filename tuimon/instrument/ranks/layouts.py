"""Which part of each tensor of a training state a rank holds, and which of that it writes into a checkpoint of all.

Parts that several ranks hold alike are written once: large ones in stretches of rows, one for each of them, small ones
by the first. Reads placements only: nothing here communicates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from torch import Tensor, nn

from tuimon.errors import CheckpointError
from tuimon.instrument.ranks.shares import copies_along, copies_beside, copies_of
from tuimon.instrument.ranks.world import World
from tuimon.instrument.state import TrainingState

SMALL: Final = 1 << 20
"""Bytes below which one rank writes all of a part that several hold."""
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A part of a tensor."""

    size: Shape
    """Of the whole."""
    offsets: Shape
    sizes: Shape
    copies: int = 1
    """Ranks that hold the same part."""
    copy: int = 0
    """Which of them this is."""

    def rows(self, item: int) -> tuple[int, int] | None:
        """What of its first dimension this rank writes, of elements of so many bytes; None where that is nothing."""
        rows = self.sizes[0] if self.sizes else 1
        count: int = math.prod(self.sizes)
        if self.copies > 1 and self.sizes and count and count * item >= SMALL:
            begin, end = (rows * (self.copy + k) // self.copies for k in (0, 1))
            return (begin, end) if begin < end else None
        is_elsewhere = not count and 0 not in self.size   # of one without elements somebody has to say that it exists
        return None if self.copy or is_elsewhere else (0, rows)


def whole(size: Sequence[int]) -> Layout:
    """All of it."""
    return Layout(tuple(size), (0,) * len(size), tuple(size))


def part_of(tensor: Tensor) -> Layout:
    """Which part of it is in this process: all, unless it is a DTensor. CheckpointError where the rank holds a term."""
    mesh: Any = getattr(tensor, "device_mesh", None)
    if mesh is None:
        return whole(tensor.shape)
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    placements: Any = getattr(tensor, "placements")  # noqa: B009  # of a DTensor, which Tensor does not say
    if any(p.is_partial() for p in placements):
        raise CheckpointError("a tensor is yet to be summed over the ranks")
    sizes, offsets = compute_local_shape_and_global_offset(tensor.shape, mesh, placements)
    copies = list(copies_along(mesh, [p.is_replicate() for p in placements]))
    return _among(Layout(tuple(tensor.shape), tuple(offsets), tuple(sizes)), copies)


def layouts_of(model: nn.Module, state: TrainingState, world: World) -> dict[str, Layout]:
    """Of every key of `state.tensors()`. `model`: within its wrappers.

    CheckpointError where a tensor of an optimizer's may be a part or a whole.
    """
    parameters = state.parameters()
    copies = dict(zip(parameters, copies_of(model, list(parameters.values())), strict=True))
    beside = copies_beside(model, list(parameters.values()))
    found = {f"param/{name}": _with(part_of(p), p, copies[name] or ()) for name, p in parameters.items()}
    found |= {key: _with(part_of(b), b, beside) for key, b in state.buffers()}
    for held in state.held():
        if isinstance(held.value, Tensor):
            owner = found.get(f"param/{held.parameter}", whole(()))
            is_alike = copies.get(held.parameter) and owner.sizes == owner.size
            mine = copies[held.parameter] or () if is_alike else beside
            found[held.key] = _held(held.key, held.value, owner, mine)
    mine = [(world.size, world.rank)]
    return found | {key: _among(whole(t.shape), mine) for key, t in state.tensors().items() if key not in found}


def _held(key: str, value: Tensor, owner: Layout, copies: Sequence[tuple[int, int]]) -> Layout:
    """An optimizer's own tensor."""
    shape = tuple(value.shape)
    if hasattr(value, "device_mesh") or owner.sizes == owner.size or value.numel() <= 1:
        return _with(part_of(value), value, copies)
    if shape == owner.sizes:   # made by hand, of what is here of the parameter
        return owner
    raise CheckpointError(f"{key} may be a part or the whole: the optimizer keeps it as a plain tensor")


def _with(layout: Layout, tensor: Tensor, copies: Sequence[tuple[int, int]]) -> Layout:
    """A DTensor knows its copies by itself, except those of a DistributedDataParallel around it."""
    return layout if hasattr(tensor, "device_mesh") else _among(layout, copies)


def _among(layout: Layout, copies: Sequence[tuple[int, int]]) -> Layout:
    copy = 0
    for count, place in copies:
        copy = copy * count + place
    return replace(layout, copies=_count(copies), copy=copy)


def _count(copies: Sequence[tuple[int, int]]) -> int:
    return math.prod(count for count, _ in copies)


class Fitting:
    """Which part of a saved tensor this process is to hold."""

    def __init__(self, state: TrainingState) -> None:
        self._parts = {f"param/{name}": part_of(p) for name, p in state.parameters().items()}
        self._parts |= {key: part_of(b) for key, b in state.buffers()}
        self._parts |= {held.key: part_of(held.value) for held in state.held() if isinstance(held.value, Tensor)}

    def of(self, key: str, size: Sequence[int]) -> Layout:
        """Of one with that name and size: as it is here, or as the parameter is to which an optimizer keeps it."""
        for name in (key, "param/" + key.rsplit("/", 1)[0].split("/", 2)[-1]):
            part = self._parts.get(name)
            if part is not None and part.size == tuple(size):
                return part
        return whole(size)


def cut(tensors: Mapping[str, Tensor], fitting: Fitting) -> dict[str, Tensor]:
    """Of whole tensors what this process is to hold."""
    found = {}
    for key, tensor in tensors.items():
        part, piece = fitting.of(key, tensor.shape), tensor
        for dim, (begin, length) in enumerate(zip(part.offsets, part.sizes, strict=True)):
            piece = piece.narrow(dim, min(begin, piece.shape[dim]), length)
        found[key] = tensor if piece.shape == tensor.shape else piece.clone()
    return found
