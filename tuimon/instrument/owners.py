"""Which module an optimizer trains: the top-most one that owns its tensors, found among all that live. Reads only."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

_BAGS: Final = (nn.ModuleList, nn.ModuleDict)
"""They hold modules, and none of them can be called: a GAN's two networks in one are still two."""
_LIMIT: Final = 500_000
"""Nodes of a graph that are looked at [about 2 s]; whoever has more is found at the first step."""


class Assembled(nn.Module):
    """Stands for what an optimizer trains where no single module owns it: several modules, or tensors of their own."""

    def __init__(self, parts: Sequence[nn.Module], loose: Sequence[Tensor]) -> None:
        super().__init__()
        for i, part in enumerate(parts):
            name = type(part).__name__.lower()
            self._modules[name if name not in self._modules else f"{name}{i}"] = part
        for i, tensor in enumerate(loose):
            self._parameters[f"tensor{i}"] = tensor  # type: ignore[assignment]  # a plain tensor is trained as well
        del self.__dict__["training"]

    def __getattr__(self, name: str) -> Any:
        """`training` is what the parts say: the script switches those."""
        if name == "training":
            return any(part.training for part in self._modules.values() if part is not None) or not self._modules
        return super().__getattr__(name)


def held(optimizer: Optimizer) -> list[Tensor]:
    """The tensors that an optimizer holds."""
    return [tensor for group in optimizer.param_groups for tensor in group["params"]]


def living_tops() -> list[nn.Module]:
    """All live modules that no other one holds, bags opened. Costs one walk over all objects [0.1 s a million]."""
    modules = [o for o in gc.get_objects() if issubclass(type(o), nn.Module) and not issubclass(type(o), Assembled)]
    modules = [module for module in modules if "_modules" in module.__dict__ and "_parameters" in module.__dict__]
    bags: set[int] = set()
    while True:
        children = {id(c) for m in modules if id(m) not in bags for c in m.__dict__["_modules"].values()}
        tops = [m for m in modules if id(m) not in bags and id(m) not in children]
        opened = {id(m) for m in tops if type(m) in _BAGS}
        if not opened:
            return tops
        bags |= opened


def owner(tensors: Sequence[Tensor], tops: Iterable[nn.Module]) -> nn.Module:
    """The module that is trained by stepping `tensors`.

    Of several that own as many of them: one that is no traced graph, then the one with the fewest other parameters,
    then the one with the most modules, which wraps the others.
    """
    wanted, rated = {id(t) for t in tensors}, []
    for top in tops:
        owned = {id(p) for p in top.parameters()}
        if share := owned & wanted:
            rank = (-len(share), isinstance(top, torch.fx.GraphModule), len(owned), -sum(1 for _ in top.modules()))
            rated.append((rank, share, top))
    rated.sort(key=lambda found: found[0])
    parts: list[nn.Module] = []
    for _, share, top in rated:
        if share & wanted:
            parts.append(top)
            wanted -= share
    if len(parts) == 1:
        return parts[0]
    loose = [] if parts else list(tensors)
    names = "+".join(dict.fromkeys(type(part).__name__ for part in parts)) or "tensors"
    kind: type[Assembled] = type(names, (Assembled,), {})
    return kind(parts, loose)


def reached(roots: Any, wanted: set[int]) -> set[int]:
    """Which of the tensors with these ids a backward from `roots` will reach, by its graph; nothing is computed."""
    stack: list[Any] = []
    seen: set[Any] = set()  # the nodes themselves: their Python faces live only as long as somebody holds them
    found: set[int] = set()
    for root in [roots] if isinstance(roots, Tensor) else list(roots) if isinstance(roots, list | tuple) else []:
        node = getattr(root, "grad_fn", None) or getattr(root, "node", None)  # a tensor, or a GradientEdge
        if node is not None:
            stack.append(node)
        elif id(root) in wanted:
            found.add(id(root))
    while stack and len(seen) < _LIMIT and len(found) < len(wanted):
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) in wanted:
            found.add(id(leaf))
        stack.extend(next_node for next_node, _ in node.next_functions if next_node is not None)
    return found
