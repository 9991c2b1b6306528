"""What one rank holds of a run's numbers: weights by which the squares that all ranks log add up to the global ones.

A sum over all ranks must count every element once. DTensor says how often it is there: once per coordinate of each
dimension that it is replicated along. A plain tensor within DistributedDataParallel is there once per rank of its
group; one beside DTensors, once per rank of their mesh. Any other is its rank's own: a stage of a pipeline, or a rank
that trains alone. Reads placements only: nothing here communicates.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tuimon.instrument.queueing import Item
from tuimon.instrument.ranks.world import World
from tuimon.record.log import Row, TensorRow

_TOGETHER: Final = frozenset({"tp", "cp", "pp"})
"""Dimensions of a mesh whose ranks work on the same tokens."""
_NORMS: Final = {"grad_square": "grad_norm", "param_square": "param_norm", "update_square": "update_norm"}
_RATIOS: Final = {"grad_param_ratio": "grad_norm", "update_ratio": "update_norm"}


@dataclass(frozen=True, slots=True)
class Shares:
    """Of the tracked tensors of one rank."""

    weights: NDArray[np.float64]
    """(P,) what each local square counts in the sum over all ranks."""
    first: NDArray[np.bool_]
    """(P,) whether this rank is the one that writes the tensor's own numbers: the others hold the same."""
    world: int
    tokens: float = 1.0
    """What its tokens count in that sum."""
    is_alone: bool = False
    """Whether some tensor is in no wrapper that is known: it counts as this rank's own."""
    is_known: bool = True
    """Whether the weights are what the tensors count: where not, norms are not measured."""

    @property
    def alike(self) -> float | None:
        """The weight, where it is one for all."""
        return float(self.weights[0]) if len(self.weights) and (self.weights == self.weights[0]).all() else None

    @property
    def is_whole(self) -> bool:
        """Whether this rank holds all there is, as every other one does: its own norms are the run's."""
        return self.is_known and self.alike == 1 / self.world

    def told(self, values: Mapping[str, float]) -> dict[str, float]:
        """One row's values, with norms in place of squares, as far as this rank knows them."""
        found = {name: value for name, value in values.items() if name not in _NORMS}
        if self.is_whole:
            found |= {norm: math.sqrt(values[square] * self.world) for square, norm in _NORMS.items()
                      if square in values}
            if found.get("param_norm"):
                found |= {ratio: found[norm] / found["param_norm"] for ratio, norm in _RATIOS.items() if norm in found}
        return found


class Part:
    """What this rank is of the whole, as its optimizers hold it now. Of a world of several."""

    def __init__(self, world: World, *, is_split: bool = False) -> None:
        """is_split: whether each rank's optimizer holds another part of what all ranks hold."""
        self.world, self.is_split = world, is_split
        self.shares = Shares(np.ones(0), np.zeros(0, np.bool_), world.size)
        self.clips_all = False
        """Whether the script clipped all gradients by their L2 norm in the last step, where that was looked for."""
        self.meets = False
        """Whether the ranks are known to be at the same step as each other."""
        self.is_early = False
        """Whether the model was wrapped after it was attached: the ranks have said of themselves what is not so."""

    def look(self, model: nn.Module, params: Sequence[Tensor]) -> Shares:
        """Look again: the optimizers hold other parameters, or the first."""
        found = shares_of(model, params, self.world.size)
        self.is_early = self.is_early or (self.shares.is_alone and not found.is_alone)
        if self.is_early or self.is_split:
            found = replace(found, first=np.zeros_like(found.first), is_known=False)
        self.shares = found
        return found

    def judged(self, items: Sequence[Item]) -> list[Item]:
        """What can be told of the run by this rank alone: exact norms where it holds all, no norm where it does not."""
        is_whole = self.shares.is_whole
        return [self._judged(item) if isinstance(item, Row) else item for item in items
                if is_whole or not isinstance(item, TensorRow)]

    def _judged(self, row: Row) -> Row:
        return Row(row.step, row.time, self.shares.told(row.values))


def shares_of(model: nn.Module, params: Sequence[Tensor], world: int) -> Shares:
    """The shares of these parameters on this rank of `world`."""
    copies = copies_of(model, params)
    weights = np.array([1 / math.prod(size for size, _ in each or ()) for each in copies])
    first = np.array([not any(place for _, place in each or ()) for each in copies], np.bool_)
    return Shares(weights, first, world, _tokens(_meshes(model, params)), None in copies)


def copies_of(model: nn.Module, params: Sequence[Tensor]) -> list[list[tuple[int, int]] | None]:
    """For each, how many copies of it there are in each way in which it is replicated, and which of them is here.

    None: it is in no wrapper that is known.
    """
    widest = max(_meshes(model, params), key=lambda mesh: mesh.size(), default=None)
    replicas = _replicas(model)
    if widest is None and any(id(p) not in replicas for p in params):
        replicas = _replicas(*_living())
    found: list[list[tuple[int, int]] | None] = []
    parameter: Any
    for parameter in params:
        group = replicas.get(id(parameter))
        copies = [] if group is None else [(group.size(), group.rank())]
        if hasattr(parameter, "device_mesh"):
            copies += copies_along(parameter.device_mesh, [p.is_replicate() for p in parameter.placements])
        elif group is None and widest is not None:
            copies += copies_along(widest, [True] * widest.ndim)
        is_known = hasattr(parameter, "device_mesh") or group is not None or widest is not None
        found.append(copies if is_known else None)
    return found


def twins_of(model: nn.Module, params: Sequence[Tensor]) -> list[tuple[int, ...]]:
    """For each, the ranks that something keeps equal to this one: none for a tensor that nothing does."""
    replicas = _replicas(model)
    if any(not hasattr(p, "device_mesh") and id(p) not in replicas for p in params):
        replicas = _replicas(*_living())
    found: list[tuple[int, ...]] = []
    parameter: Any
    for parameter in params:
        group, ranks = replicas.get(id(parameter)), list[int]()
        if hasattr(parameter, "device_mesh") and group is None:
            mesh = parameter.device_mesh
            places = mesh.get_coordinate() or [0] * mesh.ndim
            kept = tuple(slice(None) if p.is_replicate() else at
                         for p, at in zip(parameter.placements, places, strict=True))
            ranks = [int(rank) for rank in np.ravel(np.asarray(mesh.mesh)[kept])]   # a mesh is in host memory
        elif group is not None and not hasattr(parameter, "device_mesh"):
            ranks = torch.distributed.get_process_group_ranks(group)
        found.append(tuple(sorted(ranks)) if len(ranks) > 1 else ())
    return found


def copies_beside(model: nn.Module, params: Sequence[Tensor]) -> list[tuple[int, int]]:
    """The same of a plain tensor that belongs to no parameter of them: a buffer, say."""
    widest = max(_meshes(model, params), key=lambda mesh: mesh.size(), default=None)
    if widest is not None:
        return list(copies_along(widest, [True] * widest.ndim))
    return next((each for each in copies_of(model, params) if each), [])


def _meshes(model: nn.Module, params: Sequence[Tensor]) -> list[Any]:
    return [p.device_mesh for p in (*params, *model.parameters()) if hasattr(p, "device_mesh")]


def groups_of(model: nn.Module, params: Sequence[Tensor]) -> list[Any]:
    """The process groups whose ranks train these parameters together."""
    replicas = _replicas(model)
    if any(not hasattr(p, "device_mesh") and id(p) not in replicas for p in params):
        replicas = _replicas(*_living())
    groups = [replicas[id(p)] for p in params if id(p) in replicas]
    groups += [group for p in params if hasattr(p, "device_mesh") for group in p.device_mesh.get_all_groups()]
    return list({id(group): group for group in groups}.values())


def wrappers_of(model: nn.Module, params: Sequence[Tensor]) -> list[DistributedDataParallel]:
    """Those that keep some of these parameters equal on all ranks."""
    ids = set(map(id, params))
    return [w for w in list(_wrappers(model)) or _living() if ids & {id(p) for p in w.module.parameters()}]


def copies_along(mesh: Any, is_replicated: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """How many copies there are along each replicated dimension, and which of them is here."""
    places = mesh.get_coordinate() or [0] * mesh.ndim
    return ((mesh.size(dim), place) for dim, place in enumerate(places) if is_replicated[dim])


def _replicas(*modules: nn.Module) -> dict[int, Any]:
    """The process groups within which parameters are replicated by DistributedDataParallel, by the parameters' ids."""
    found: dict[int, Any] = {}
    for wrapper in _wrappers(*modules):
        left_out = set(getattr(wrapper, "parameters_to_ignore", ()))
        found |= {id(p): wrapper.process_group for name, p in wrapper.module.named_parameters()
                  if name not in left_out}
    return found


def _wrappers(*modules: nn.Module) -> Iterator[DistributedDataParallel]:
    return (m for module in modules for m in module.modules() if isinstance(m, DistributedDataParallel))


def _living() -> list[DistributedDataParallel]:
    """All wrappers there are: a script may attach what it has wrapped, not the wrapper [0.1 s a million objects]."""
    return [o for o in gc.get_objects() if issubclass(type(o), DistributedDataParallel)
            and "module" in o.__dict__.get("_modules", ())]   # one whose constructor raised has none


def _tokens(meshes: Sequence[Any]) -> float:
    names: dict[str, int] = {}
    for mesh in meshes:
        names |= {name: mesh.size(dim) for dim, name in enumerate(mesh.mesh_dim_names or ())}
    return 1 / math.prod(size for name, size in names.items() if name in _TOGETHER)
