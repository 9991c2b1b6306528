"""Values in types that torch.load(weights_only=True) admits, so that a checkpoint holds nothing else. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any, Final

import torch
from torch import Tensor

_LEFT: Final = object()


def portable(value: Any, where: str, left_out: list[str]) -> Any:
    """`value` in types that torch.load(weights_only=True) admits: primitives, containers of them, host tensors.

    What cannot be (functions, sets, objects) is dropped and its place noted in `left_out`; None at the top.
    """
    found = _portable(value, where, left_out)
    return None if found is _LEFT else found


def _portable(value: Any, where: str, left_out: list[str]) -> Any:
    if value is None or type(value) in (bool, int, float, str, bytes, torch.dtype):
        return value
    if isinstance(value, Tensor) and value.layout is torch.strided:
        host = value.detach().cpu()  # sync: in the writer thread
        return host if host.untyped_storage().nbytes() == host.numel() * host.element_size() else host.clone()
    if isinstance(value, dict):
        return _portable_dict(value, where, left_out)
    if isinstance(value, list | tuple):
        items = [_portable(v, f"{where}[{i}]", left_out) for i, v in enumerate(value)]
        kept = [None if v is _LEFT else v for v in items]
        return kept if isinstance(value, list) else tuple(kept)
    for kind in (int, float, str):  # enums, numpy.float64: what they are, without their class
        if isinstance(value, kind):
            return kind(value)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return _portable(value.tolist(), where, left_out)
    left_out.append(f"{where} ({type(value).__name__})"[:200])
    return _LEFT


def _portable_dict(value: dict[Any, Any], where: str, left_out: list[str]) -> dict[Any, Any]:
    kept: dict[Any, Any] = type(value)() if type(value) in (Counter, OrderedDict) else {}
    for key, item in value.items():
        plain = key if key is None or type(key) in (bool, int, float, str, bytes) else _LEFT
        found = _portable(item, f"{where}.{key}", left_out) if plain is not _LEFT else _LEFT
        if plain is _LEFT:
            left_out.append(f"{where}[{key!r:.60}]")
        elif found is not _LEFT:
            kept[plain] = found
    return kept
