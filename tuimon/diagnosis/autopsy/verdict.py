"""Which module was the first to make something non-finite of finite values, out of what a replay saw. Pure.

A NaN or +inf that comes out of a module into which none went convicts it; -inf alone is what masks are made of, and
counts only where it leaves the model. A module's parts end before it does, so the first in that order is the innermost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tuimon.diagnosis.autopsy.model import Place, Sight, Span, place_of

BEFORE: Final = 4
AFTER: Final = 3
"""Calls that are told beside the convicted one."""
LAST: Final = 6
"""Calls that are told where none is convicted: the last ones."""
LARGEST: Final[Mapping[str, float]] = {"float16": 65_504.0, "bfloat16": 3.3895e38, "float32": 3.4028e38}
NEAR: Final = 1e-3
"""Of the largest number of its type: from there on it is worth a word."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay saw."""

    sights: tuple[Sight, ...]
    """Calls, in the order in which they ended: a module after its parts."""
    entered: Mapping[str, Span]
    """What went into the model, by argument."""
    left: Mapping[str, Span]
    """What came out of it, by name or place."""
    gradients: tuple[Sight, ...] = ()
    """The same calls, as the gradient that came from the output and the one that was handed on."""
    parameters: Mapping[str, Span] = field(default_factory=dict)
    """Gradients of the parameters, by name."""
    raised: str = ""
    """What the model raised, and in which module; "" where it did not."""


@dataclass(frozen=True, slots=True)
class Convicted:
    """The place where it began."""

    place: Place
    sight: Sight
    chain: tuple[Sight, ...]


def forward(seen: Replayed) -> Convicted | None:
    """The first module with finite values before it and others behind it, or the argument that was not finite."""
    sights = seen.sights
    first = next((i for i, s in enumerate(sights) if _poisons(s)), None)
    if first is None and any(not span.is_finite for span in seen.left.values()):
        first = next((i for i, s in enumerate(sights) if _darkens(s)), None)
    if first is not None:
        return _convicted(sights, first, seen.left)
    broken = next(((name, span) for name, span in seen.entered.items() if span.is_poisoned), None)
    if broken is None or not any(not span.is_finite for span in seen.left.values()):
        return None
    return Convicted("batch", Sight(broken[0], "", broken[1], None), leaves(sights)[:LAST])


def backward(seen: Replayed) -> Convicted | None:
    """The module that a finite gradient entered from behind, and that hands on one that is not."""
    calls = seen.gradients
    poisoned = {name.rpartition(".")[0] for name, span in seen.parameters.items() if not span.is_finite}
    dark = {c.module for c in calls if c.went_in is not None and not c.went_in.is_finite}
    for i, call in enumerate(calls):
        if call.module in dark:
            continue
        hands_on = call.came_out is not None and not call.came_out.is_finite
        prefix = f"{call.module}." if call.module else ""
        if hands_on or call.module in poisoned or any(m.startswith(prefix) and m != call.module for m in dark):
            order = tuple(reversed(calls))
            return Convicted(place_of(call.kind), call, _around(order, len(calls) - 1 - i))
    return None


def _poisons(sight: Sight) -> bool:
    return sight.came_out is not None and sight.came_out.is_poisoned and not (
        sight.went_in is not None and sight.went_in.is_poisoned)


def _darkens(sight: Sight) -> bool:
    return sight.came_out is not None and not sight.came_out.is_finite and (
        sight.went_in is None or sight.went_in.is_finite)


def _convicted(sights: Sequence[Sight], at: int, left: Mapping[str, Span]) -> Convicted:
    sight = sights[at]
    place = place_of(sight.kind)
    if not sight.module:  # the model's own code: what is bad may be the loss alone, one number beside finite ones
        bad = [span for span in left.values() if not span.is_finite]
        place = "loss" if len(bad) < len(left) and all(span.of == 1 for span in bad) else "code"
    elif any(s.module.startswith(f"{sight.module}.") for s in sights) and place not in ("loss", "attention", "norm"):
        place = "code"  # its parts are innocent: what it does between them is not
    return Convicted(place, sight, _around(sights, at))


def leaves(sights: Sequence[Sight]) -> tuple[Sight, ...]:
    """Calls of modules that have no parts."""
    return tuple(s for s in sights if not _has_parts(s, sights))


def _has_parts(sight: Sight, sights: Sequence[Sight]) -> bool:
    return any(other.module.startswith(f"{sight.module}.") for other in sights) if sight.module else len(sights) > 1


def _around(sights: Sequence[Sight], at: int) -> tuple[Sight, ...]:
    """The call at this place, and those of modules without parts around it."""
    parents = {s.module.rpartition(".")[0] for s in sights} if len(sights) > 1 else set()
    parents |= {p[:i] for p in list(parents) for i, c in enumerate(p) if c == "."}
    before = [s for s in sights[:at] if s.module not in parents]
    after = [s for s in sights[at + 1:] if s.module not in parents]
    return (*before[-BEFORE:], sights[at], *after[:AFTER])


def nearest_to_overflow(sights: Sequence[Sight]) -> Sight | None:
    """The call whose output comes nearest to the largest number of its type; None where none comes near."""
    def share(sight: Sight) -> float:
        span = sight.came_out
        return span.largest / LARGEST[span.dtype] if span and span.is_finite and span.dtype in LARGEST else 0.0

    found = max(sights, key=share, default=None)
    return found if found is not None and share(found) >= NEAR else None
