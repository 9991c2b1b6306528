"""Values as strict JSON carries them. Pure; no numpy, so that a screen can be painted before it is loaded."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Final, TypeGuard, TypeVar, Union, cast, get_args, get_origin, get_type_hints

WIDEST: Final = 1 << 62
"""Whole numbers below it can be added and subtracted in 64 bits."""
T = TypeVar("T")


def finite(value: Any) -> Any:
    """`value` with non-finite floats as "NaN", "Infinity", "-Infinity"; numpy's as ours, the rest as its text."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, Integral):   # of numpy
        return int(value)
    return finite(float(value)) if isinstance(value, Real) else str(value)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it is an integer that 64 bits have room for."""
    return isinstance(value, int) and not isinstance(value, bool) and -WIDEST < value < WIDEST


def built(kind: type[T], body: Mapping[str, Any]) -> T:
    """A record out of JSON; TypeError where that is no object, or a field is missing, unknown or of another type."""
    if not isinstance(body, Mapping):
        raise TypeError("no object")
    types, found = _types(cast("Callable[..., Any]", kind)), {}
    for name, value in body.items():
        wanted = types.get(name, object)
        fits = _fits(value, wanted)
        found[name] = int(value) if not fits and isinstance(value, float) and value.is_integer() else value
        if not fits and not _fits(found[name], wanted):   # a number of steps may have been given as 1e5
            raise TypeError(f"{name} is of another type")
    return kind(**found)


@cache
def _types(kind: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: object, wanted: Any) -> bool:
    outer, inner = get_origin(wanted), get_args(wanted)
    if outer in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if outer is tuple:
        return isinstance(value, tuple) and all(_fits(one, inner[0]) for one in value)
    if outer is not None:
        return isinstance(value, Mapping) and all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items())
    if wanted is float:
        return isinstance(value, float) or is_whole(value)
    return is_whole(value) if wanted is int else value is None if wanted is NoneType else isinstance(value, wanted)
